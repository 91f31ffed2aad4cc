"""Forests and boosted trees: the attributes of TreeEnsemble operators as arrays, and back."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

Array = np.ndarray[Any, Any]
OPERATORS = ("TreeEnsembleClassifier", "TreeEnsembleRegressor")
NEWER = "TreeEnsemble"
_MODES = ("LEAF", "BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ")
_NODE_ATTRIBUTES: tuple[str, ...] = (
    "treeids",
    "nodeids",
    "featureids",
    "values",
    "modes",
    "truenodeids",
    "falsenodeids",
)
_NODE_ATTRIBUTES += ("hitrates", "missing_value_tracks_true")


@dataclass(frozen=True, slots=True, kw_only=True)
class Forest:
    """Trees as arrays: one entry per node, children by place in these arrays, votes as a row per node.

    The votes of a leaf are weights of targets.
    """

    tree: Array  # number of the tree, from 0
    feature: Array
    value: Array
    mode: Array  # place in _MODES, 0 for leaves
    yes: Array  # where to go if the test holds; -1 for leaves
    no: Array
    missing_yes: Array  # whether a missing value goes where the test holds
    votes: Array  # [nodes, targets]
    targets: Array  # the class or output of each column of votes
    roots: Array  # place of each tree's root

    @property
    def is_leaf(self) -> Array:
        """Which nodes are leaves."""
        leaves: Array = self.mode == 0
        return leaves

    @property
    def tree_count(self) -> int:
        """How many trees there are."""
        return len(self.roots)

    def leaves_reached(self, rows: Array) -> Array:
        """Return the leaf that each row ends in, by row and tree."""
        places = np.repeat(self.roots[None, :], len(rows), axis=0)
        numbers = np.arange(len(rows))[:, None]
        while True:
            moving = self.mode[places] != 0
            if not moving.any():
                return places
            given = rows[numbers, self.feature[places]]
            goes = _holds(given, self.value[places], self.mode[places])
            goes |= np.isnan(given) & self.missing_yes[places]
            places = np.where(moving, np.where(goes, self.yes[places], self.no[places]), places)

    def kept(self, trees: Array, scale: Array) -> Forest:
        """Return the forest of these trees only, their votes multiplied by `scale`."""
        chosen = np.full(self.tree_count, -1)
        chosen[trees] = np.arange(len(trees))
        stays = np.isin(self.tree, trees)
        factors = np.ones(self.tree_count)
        factors[trees] = scale
        forest = replace(self, votes=self.votes * factors[self.tree][:, None], roots=self.roots[trees])
        forest = forest.without(~stays)
        return replace(forest, tree=chosen[forest.tree])

    def without(self, gone: Array) -> Forest:
        """Return the forest without these nodes, which no other node may lead to."""
        stays = ~gone
        places = np.cumsum(stays) - 1
        moved = {
            name: np.where(array < 0, -1, places[array])[stays]
            for name, array in (("yes", self.yes), ("no", self.no))
        }
        return Forest(
            tree=self.tree[stays],
            feature=self.feature[stays],
            value=self.value[stays],
            mode=self.mode[stays],
            missing_yes=self.missing_yes[stays],
            votes=self.votes[stays],
            targets=self.targets,
            roots=places[self.roots],
            **moved,
        )

    def cut(self, leaf: Array, votes: Array) -> Forest:
        """Return the forest in which these nodes are leaves and votes are these; what hung below is still there."""
        below = {name: np.where(leaf, -1, array) for name, array in (("yes", self.yes), ("no", self.no))}
        return replace(self, mode=np.where(leaf, 0, self.mode), votes=votes, **below)

    def merged(self, nodes: Array, votes: Array) -> Forest:
        """Return the forest in which `nodes`, whose children are leaves, are leaves with these votes."""
        leaf, all_votes = self.is_leaf, self.votes.copy()
        gone = np.zeros(len(leaf), bool)
        gone[self.yes[nodes]] = gone[self.no[nodes]] = True
        leaf[nodes] = True
        all_votes[nodes] = votes
        return self.cut(leaf, all_votes).without(gone)


def read(node: onnx.NodeProto) -> Forest:
    """Return the trees of a TreeEnsemble node."""
    attributes = {each.name: each for each in node.attribute}
    trees = _ints(attributes, "nodes_treeids")
    numbers = _ints(attributes, "nodes_nodeids")
    names, tree = np.unique(trees, return_inverse=True)
    places = {pair: place for place, pair in enumerate(zip(tree.tolist(), numbers.tolist(), strict=True))}
    modes = np.array([_MODES.index(text.decode()) for text in attributes["nodes_modes"].strings])
    inner = modes != 0
    children = {}
    for name in ("truenodeids", "falsenodeids"):
        given = _ints(attributes, f"nodes_{name}")
        pairs = zip(tree.tolist(), given.tolist(), inner.tolist(), strict=True)
        children[name] = np.array([places[number, child] if leads else -1 for number, child, leads in pairs])
    missing = attributes.get("nodes_missing_value_tracks_true")
    votes, targets = _votes(attributes, _prefix(node), names, places)
    is_root = np.ones(len(tree), bool)
    for found in children.values():
        is_root[found[found >= 0]] = False
    roots = np.flatnonzero(is_root)
    return Forest(
        tree=tree,
        feature=_ints(attributes, "nodes_featureids"),
        value=_floats(attributes, "nodes_values"),
        mode=modes,
        yes=children["truenodeids"],
        no=children["falsenodeids"],
        missing_yes=np.array(missing.ints, bool) if missing and missing.ints else np.zeros(len(tree), bool),
        votes=votes,
        targets=targets,
        roots=roots[np.argsort(tree[roots], kind="stable")],
    )


def write(node: onnx.NodeProto, forest: Forest) -> None:
    """Give a TreeEnsemble node these trees; what holds its default and votes of zero are left out."""
    prefix = _prefix(node)
    double = any(attribute.name == "nodes_values_as_tensor" for attribute in node.attribute)
    dropped = {f"nodes_{name}" for name in _NODE_ATTRIBUTES}
    dropped |= {f"{prefix}_{name}" for name in ("treeids", "nodeids", "ids", "weights")}
    dropped |= {f"{name}_as_tensor" for name in dropped}
    kept = [attribute for attribute in node.attribute if attribute.name not in dropped]
    order = np.arange(len(forest.tree))
    starts = np.full(forest.tree_count, len(order))
    np.minimum.at(starts, forest.tree, order)
    numbers = order - starts[forest.tree]
    places, columns = _written(forest)
    made: dict[str, Any] = {
        "nodes_treeids": forest.tree,
        "nodes_nodeids": numbers,
        "nodes_featureids": np.where(forest.is_leaf, 0, forest.feature),
        "nodes_truenodeids": np.where(forest.is_leaf, 0, numbers[forest.yes]),
        "nodes_falsenodeids": np.where(forest.is_leaf, 0, numbers[forest.no]),
        f"{prefix}_treeids": forest.tree[places],
        f"{prefix}_nodeids": numbers[places],
        f"{prefix}_ids": forest.targets[columns],
    }
    if forest.missing_yes.any():
        made["nodes_missing_value_tracks_true"] = forest.missing_yes.astype(int)
    attributes = [helper.make_attribute(name, [int(each) for each in array]) for name, array in made.items()]
    attributes.append(helper.make_attribute("nodes_modes", [_MODES[mode] for mode in forest.mode]))
    numbers_float = {
        "nodes_values": np.where(forest.is_leaf, 0, forest.value),
        f"{prefix}_weights": forest.votes[places, columns],
    }
    attributes += [_number_attribute(name, array, double) for name, array in numbers_float.items()]
    copies = [onnx.AttributeProto.FromString(attribute.SerializeToString()) for attribute in kept]
    del node.attribute[:]
    node.attribute.extend(copies + sorted(attributes, key=lambda attribute: attribute.name))


def option(node: onnx.NodeProto, name: str, default: str) -> str:
    """Return a text among the attributes of a node."""
    found = next((attribute.s.decode() for attribute in node.attribute if attribute.name == name), default)
    return str(found)


def _prefix(node: onnx.NodeProto) -> str:
    return "class" if node.op_type == "TreeEnsembleClassifier" else "target"


def _written(forest: Forest) -> tuple[Array, Array]:
    """Return rows and columns of the votes that are not zero, and of one of each leaf that has none."""
    wanted = (forest.votes != 0) & forest.is_leaf[:, None]
    wanted[forest.is_leaf & ~wanted.any(axis=1), 0] = True
    # Every target is named at least once: what is named decides how the runtime reads two classes.
    first = int(np.flatnonzero(forest.is_leaf)[0])
    wanted[first, ~wanted.any(axis=0)] = True
    places, columns = np.nonzero(wanted)
    return places, columns


def _votes(
    attributes: dict[str, onnx.AttributeProto],
    prefix: str,
    names: Array,
    places: dict[tuple[int, int], int],
) -> tuple[Array, Array]:
    trees = np.searchsorted(names, _ints(attributes, f"{prefix}_treeids"))
    numbers = _ints(attributes, f"{prefix}_nodeids")
    targets, columns = np.unique(_ints(attributes, f"{prefix}_ids"), return_inverse=True)
    votes = np.zeros((len(places), len(targets)), np.float64)
    rows = [places[pair] for pair in zip(trees.tolist(), numbers.tolist(), strict=True)]
    np.add.at(votes, (np.array(rows), columns), _floats(attributes, f"{prefix}_weights"))
    return votes, targets


def _ints(attributes: dict[str, onnx.AttributeProto], name: str) -> Array:
    return np.array(attributes[name].ints, np.int64)


def _floats(attributes: dict[str, onnx.AttributeProto], name: str) -> Array:
    """Return numbers as the runtime compares them: float32, or float64 where they come as a tensor of those."""
    tensor = attributes.get(f"{name}_as_tensor")
    if tensor is not None:
        array: Array = numpy_helper.to_array(tensor.t)
        return array
    return np.array(attributes[name].floats, np.float32)


def _number_attribute(name: str, array: Array, double: bool) -> onnx.AttributeProto:
    if double:
        tensor = numpy_helper.from_array(array.astype(np.float64), f"{name}_as_tensor")
        return helper.make_attribute(f"{name}_as_tensor", tensor)
    return helper.make_attribute(name, [float(each) for each in array.astype(np.float32)])


def _holds(given: Array, value: Array, mode: Array) -> Array:
    tests = (
        np.zeros(given.shape, bool),
        given <= value,
        given < value,
        given >= value,
        given > value,
        given == value,
        given != value,
    )
    result: Array = np.choose(mode, tests)
    return result
