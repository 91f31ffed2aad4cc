"""Finds every reason that the source gives to an error, with the status codes that it is raised with."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from servemesh import errors
from servemesh.rpc.edge import code_of

ROOT = Path(__file__).parents[2]
REASON = re.compile("[A-Z][A-Z0-9]*(_[A-Z0-9]+)*")
CODES = {
    name: code_of(kind("")).name
    for name, kind in vars(errors).items()
    if isinstance(kind, type) and issubclass(kind, errors.ServemeshError)
}
Found = Iterator[tuple[str, str | None]]


def found() -> dict[str, set[str]]:
    """Every reason, with those of its codes that can be read off the place where it is raised."""
    trees = [
        ast.parse(path.read_text())
        for folder in ("libs/servemesh", "services/servemesh")
        for path in sorted((ROOT / folder).rglob("*.py"))
    ]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    constants = dict(_constants(nodes))
    places = dict(_reason_places(nodes))
    reasons: dict[str, set[str]] = defaultdict(set)
    for node in nodes:
        for reason, code in _of_node(node, constants, places):
            if REASON.fullmatch(reason):
                reasons[reason] |= {code} if code else set()
    return dict(reasons)


def _of_node(node: ast.AST, constants: dict[str, str], places: dict[str, int]) -> Found:
    if isinstance(node, ast.Call):
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        given = [keyword.value for keyword in node.keywords if keyword.arg == "reason"]
        if name in places and len(node.args) > places[name]:
            given.append(node.args[places[name]])
        for expression in given:
            for text in _texts(expression, constants):
                yield text, CODES.get(name)
    elif isinstance(node, ast.ClassDef):
        yield from _of_class(node)
    elif isinstance(node, ast.FunctionDef) and "reason" in node.name:
        for returned in ast.walk(node):
            if isinstance(returned, ast.Return) and returned.value is not None:
                yield from ((text, None) for text in _texts(returned.value, constants))
    elif isinstance(node, ast.arguments):
        defaulted = [*node.posonlyargs, *node.args][::-1]
        for argument, default in zip(defaulted, node.defaults[::-1], strict=False):
            if argument.arg == "reason":
                yield from ((text, None) for text in _texts(default, constants))
    elif isinstance(node, ast.Assign):
        name = getattr(node.targets[0], "id", "")
        if name == "reason":
            yield from ((text, None) for text in _texts(node.value, constants))
        elif name.endswith("_REASONS"):
            yield from ((part.value, None) for part in ast.walk(node.value) if isinstance(part, ast.Constant))


def _of_class(node: ast.ClassDef) -> Found:
    """`reason = "…"` of a class of errors, with the code of what it is derived from."""
    bases = [getattr(base, "id", getattr(base, "attr", "")) for base in node.bases]
    names = [name for name in (node.name, *bases) if name in CODES]
    for statement in node.body:
        if isinstance(statement, ast.Assign) and getattr(statement.targets[0], "id", "") == "reason":
            for text in _texts(statement.value, {}):
                yield text, CODES[names[0]] if names else None


def _texts(expression: ast.expr, constants: dict[str, str]) -> Iterator[str]:
    """Every text that the expression may be. The condition of an `if` is none."""
    if isinstance(expression, ast.Constant) and isinstance(expression.value, str):
        yield expression.value
    elif isinstance(expression, ast.Name | ast.Attribute):
        name = expression.id if isinstance(expression, ast.Name) else expression.attr
        if name in constants:
            yield constants[name]
    elif isinstance(expression, ast.IfExp):
        yield from _texts(expression.body, constants)
        yield from _texts(expression.orelse, constants)
    elif isinstance(expression, ast.BoolOp):
        for value in expression.values:
            yield from _texts(value, constants)


def _constants(nodes: list[ast.AST]) -> Iterator[tuple[str, str]]:
    """Names in capitals that stand for a text."""
    for node in nodes:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
            name, value = getattr(node.targets[0], "id", ""), node.value.value
            if name.isupper() and isinstance(value, str):
                yield name, value


def _reason_places(nodes: list[ast.AST]) -> Iterator[tuple[str, int]]:
    """Functions of ours that take a `reason` by place."""
    for node in nodes:
        if isinstance(node, ast.FunctionDef):
            names = [argument.arg for argument in node.args.args if argument.arg != "self"]
            if "reason" in names:
                yield node.name, names.index("reason")


if __name__ == "__main__":
    for reason, codes in sorted(found().items()):
        print(reason, ", ".join(sorted(codes)))
