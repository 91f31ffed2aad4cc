"""Support vector machines: the attributes of SVM operators as arrays, their decisions, and back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import helper

Array = np.ndarray[Any, Any]
OPERATORS = ("SVMClassifier", "SVMRegressor")
_ROWS = 512  # of a kernel at a time


@dataclass(frozen=True, slots=True, kw_only=True)
class Vectors:
    """Support vectors, class by class, and what each adds to each decision.

    Decision p is between the classes of `pairs[p]`: the sum over both classes' vectors of coefficient times kernel,
    plus `rho[p]`. A regressor has one decision, over all of its vectors, which is between class 0 and itself.
    """

    vectors: Array  # [vectors, features]
    owner: Array  # [vectors]: the class of each
    coefficients: Array  # [decisions, vectors], 0 where a vector takes no part
    rho: Array  # [decisions]
    pairs: tuple[tuple[int, int], ...]
    kernel: str
    gamma: float
    coef0: float
    degree: float

    def kernel_of(self, rows: Array, vectors: Array) -> Array:
        """Return the kernel between rows and vectors."""
        parts = [self._kernel(rows[begin : begin + _ROWS], vectors) for begin in range(0, len(rows), _ROWS)]
        return np.concatenate(parts)

    def decisions(self, rows: Array) -> Array:
        """Return [rows, decisions]."""
        result: Array = self.kernel_of(rows, self.vectors) @ self.coefficients.T + self.rho
        return result

    def takes_part(self, decision: int) -> Array:
        """Return which vectors a decision is made of."""
        return np.isin(self.owner, self.pairs[decision])

    def _kernel(self, rows: Array, vectors: Array) -> Array:
        products: Array = rows @ vectors.T
        if self.kernel == "LINEAR":
            return products
        if self.kernel == "POLY":
            products = np.power(self.gamma * products + self.coef0, self.degree)
            return products
        if self.kernel == "SIGMOID":
            products = np.tanh(self.gamma * products + self.coef0)
            return products
        squares = np.square(rows).sum(axis=1)[:, None] + np.square(vectors).sum(axis=1)[None, :]
        products = np.exp(-self.gamma * np.maximum(squares - 2 * products, 0))
        return products


def read(node: onnx.NodeProto) -> Vectors | None:
    """Return the machine of an SVM node; None if it has no support vectors."""
    given = {each.name: helper.get_attribute_value(each) for each in node.attribute}
    gamma, coef0, degree = given.get("kernel_params") or (0.0, 0.0, 0.0)
    counts = (
        given.get("vectors_per_class") if node.op_type == "SVMClassifier" else [given.get("n_supports", 0)]
    )
    if not counts or not sum(counts):
        return None
    owner = np.repeat(np.arange(len(counts)), counts)
    vectors = np.array(given["support_vectors"], np.float64).reshape(len(owner), -1)
    pairs = tuple((i, j) for i in range(len(counts)) for j in range(i + 1, len(counts))) or ((0, 0),)
    flat = np.array(given["coefficients"], np.float64).reshape(-1, len(owner))
    return Vectors(
        vectors=vectors,
        owner=owner,
        coefficients=_by_decision(flat, owner, pairs),
        rho=np.array(given["rho"], np.float64)[: len(pairs)],
        pairs=pairs,
        kernel=(given.get("kernel_type") or b"LINEAR").decode(),
        gamma=float(gamma),
        coef0=float(coef0),
        degree=float(degree),
    )


def write(node: onnx.NodeProto, machine: Vectors) -> None:
    """Give an SVM node these vectors, coefficients and constants."""
    made: dict[str, Any] = {
        "support_vectors": machine.vectors.ravel(),
        "coefficients": _by_class(machine).ravel(),
        "rho": machine.rho,
    }
    attributes = [
        helper.make_attribute(name, [float(each) for each in np.asarray(array, np.float32)])
        for name, array in made.items()
    ]
    if node.op_type == "SVMClassifier":
        counts = np.bincount(machine.owner, minlength=machine.pairs[-1][1] + 1)
        attributes.append(helper.make_attribute("vectors_per_class", [int(count) for count in counts]))
    else:
        attributes.append(helper.make_attribute("n_supports", len(machine.owner)))
    names = {attribute.name for attribute in attributes}
    kept = [
        onnx.AttributeProto.FromString(each.SerializeToString())
        for each in node.attribute
        if each.name not in names
    ]
    del node.attribute[:]
    node.attribute.extend(sorted([*kept, *attributes], key=lambda attribute: attribute.name))


def _by_decision(flat: Array, owner: Array, pairs: tuple[tuple[int, int], ...]) -> Array:
    """Spread the coefficients of libsvm, a row per other class, over the decisions."""
    if pairs == ((0, 0),):
        return flat
    spread = np.zeros((len(pairs), len(owner)))
    for number, (i, j) in enumerate(pairs):
        spread[number, owner == i] = flat[j - 1, owner == i]
        spread[number, owner == j] = flat[i, owner == j]
    return spread


def _by_class(machine: Vectors) -> Array:
    if machine.pairs == ((0, 0),):
        return machine.coefficients
    classes = machine.pairs[-1][1] + 1
    flat = np.zeros((classes - 1, len(machine.owner)))
    for number, (i, j) in enumerate(machine.pairs):
        first, second = machine.owner == i, machine.owner == j
        flat[j - 1, first] = machine.coefficients[number, first]
        flat[i, second] = machine.coefficients[number, second]
    return flat
