"""A torch.export program as data: what torch would run while it reads one is taken out or refused.

torch.export.load is no safe reader: it unpickles, it resolves operators by dotted Python names, evaluates shape
expressions and guards, imports what tree specs name, and writes names into source code that it compiles. So the
JSON of a program is rewritten here before torch sees it: names are identifiers, operators are those of aten,
expressions are arithmetic, containers are lists, tuples and dicts, and guards, metadata and devices are left out.
"""

from __future__ import annotations

import json
import re
from typing import Any

from servemesh.errors import InvalidError
from servemesh.optimizer.domain import resaving

NAME_CHARS_MAX = 512
EXPRESSION_CHARS_MAX = 1_000

_IDENTIFIER = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_DOTTED = re.compile(r"\w+(\.\w+)*", re.ASCII)
_OPERATOR = re.compile(
    r"torch\.ops\.(aten|prims)\.\w+(\.\w+)?"
    r"|torch\.ops\.higher_order\.(cond|while_loop|scan|associative_scan|map_impl|wrap_with_\w+)"
    r"|torch\._higher_order_ops\.wrap\.wrap_with_\w+"
    r"|_operator\.(eq|ne|le|ge|lt|gt|neg|pos|mul|add|sub|floordiv|truediv|mod|pow|and_|or_|lshift|rshift|getitem)"
    r"|math\.(trunc|ceil|floor)|torch\.sym_\w+|torch\._sym_sqrt",
    re.ASCII,
)
# These read or write files of the machine.
_OPERATORS_REFUSED = re.compile(r"torch\.ops\.aten\.(from_file|_?save|_?load|_print)\b")
_EXPRESSION = re.compile(r"[\w\s+\-*/%()<>=!~&|,.]*", re.ASCII)
_WORD = re.compile(r"(?<![\w.])[A-Za-z_]\w*", re.ASCII)
# As sympy writes symbols and numbers with a fraction: Symbol('s0', positive=True), Float('1.5', precision=53).
_LITERAL = re.compile(
    r"\b(?:Symbol\('([a-z]{1,8}\d{1,8})'(?:, [a-z_]+=(?:True|False))*\)|Float\('[\d.e+-]+', precision=\d{1,3}\))",
    re.ASCII,
)
_SYMBOL = re.compile(r"z?[a-z]+\d+", re.ASCII)
_FUNCTION = re.compile(
    r"FloorDiv|ModularIndexing|Where|PythonMod|Mod|CleanDiv|CeilToInt|FloorToInt|CeilDiv|LShift|RShift|PowByNatural"
    r"|FloatPow|FloatTrueDiv|IntTrueDiv|TruncToFloat|TruncToInt|RoundToInt|RoundDecimal|ToFloat|Identity|Max|Min|Abs"
    r"|Add|Mul|Pow|Integer|Rational|Equality|Unequality|LessThan|StrictLessThan|GreaterThan|StrictGreaterThan"
    r"|Eq|Ne|Lt|Le|Gt|Ge|And|Or|Not|Piecewise|floor|ceiling|sqrt|True|False|oo|int_oo"
)
_CONTAINERS = {None, "builtins.list", "builtins.tuple", "builtins.dict", "collections.OrderedDict"}
_NAMES = frozenset({"name", "as_name"})
_PATHS = frozenset({"parameter_name", "buffer_name", "tensor_constant_name", "user_input_name"})
_MAPS_OF_NAMES = frozenset({"tensor_values", "sym_int_values", "sym_bool_values", "sym_float_values"})
_REFUSED = {
    "as_custom_obj": "an object of a class of its own",
    "custom_obj": "an object of a class of its own",
    "as_operator": "an operator as an argument",
}


def checked_program(raw: bytes) -> bytes:
    """Return the program with nothing in it that runs; InvalidError that names what cannot be taken out."""
    program = _parsed(raw, "models/model.json")
    module = program.get("graph_module")
    if not isinstance(module, dict):
        raise _unreadable("models/model.json", "graph_module")
    module["metadata"] = {}
    module["treespec_namedtuple_fields"] = {}
    calls = module.get("module_call_graph")
    module["module_call_graph"] = [
        call for call in calls or () if isinstance(call, dict) and call.get("fqn") == ""
    ]
    program["guards_code"] = []
    program["verifiers"] = []
    for symbol in program.get("range_constraints", {}):
        _check_expression(symbol)
    _walk(program, "model")
    return json.dumps(program).encode()


def checked_payload(raw: bytes, path: str) -> bytes:
    """Return the list of weights or constants of a program; InvalidError if one of them is a pickle."""
    payload = _parsed(raw, path)
    config = payload.get("config")
    if not isinstance(config, dict):
        raise _unreadable(path, "config")
    for name, entry in config.items():
        file_name = entry.get("path_name") if isinstance(entry, dict) else None
        if not isinstance(file_name, str) or not re.fullmatch(r"\w+", file_name, re.ASCII):
            raise _unreadable(path, name)
        _check(_DOTTED, name, "name of a weight")
        if entry.get("use_pickle") is not False or not entry.get("tensor_meta"):
            raise InvalidError(
                f"weight {name!r} is stored as a pickle, which is never opened here: opening one runs the code in it. "
                "Use plain tensors instead of a subclass or an object of your own, and export again",
                reason="PICKLE_REFUSED",
                field=name,
            )
    _walk(payload, path)
    return json.dumps(payload).encode()


def _walk(value: Any, field: str) -> None:
    """Check what lies in `value`, and rewrite what is to be left out."""
    if isinstance(value, list):
        for item in value:
            _walk(item, field)
    elif isinstance(value, dict):
        if isinstance(value.get("name"), str):
            field = value["name"]
        for key, item in value.items():
            _check_entry(key, item, field)
        if isinstance(value.get("target"), str):
            value["metadata"] = {}
        if "device" in value and isinstance(value["device"], dict):
            value["device"] = {"type": "cpu", "index": None}
        if isinstance(value.get("as_device"), dict):
            value["as_device"] = {"type": "cpu", "index": None}
        for item in value.values():
            _walk(item, field)


def _check_entry(key: str, item: Any, field: str) -> None:
    if key in _REFUSED:
        raise _code(f"it holds {_REFUSED[key]}", field)
    if key in _MAPS_OF_NAMES:
        for name in item if isinstance(item, dict) else ():
            _check(_IDENTIFIER, name, "name of a value")
    if key == "forward_arg_names":
        for name in item or ():
            _check(_IDENTIFIER, name, "name of an argument")
    if not isinstance(item, str):
        return
    if key in _NAMES and item:
        _check(_IDENTIFIER, item, "name")
    elif key in _PATHS:
        _check(_DOTTED, item, "name of a weight")
    elif key == "target":
        _check_operator(item, field)
    elif key == "expr_str":
        _check_expression(item)
    elif key in {"in_spec", "out_spec"}:
        _check_tree(item)


def _check_operator(operator: str, field: str) -> None:
    if _OPERATOR.fullmatch(operator) and not _OPERATORS_REFUSED.match(operator):
        return
    raise InvalidError(
        f"operator {_short(operator)!r} is not one of torch's own that compute: replace it with operators of torch.nn "
        "or torch.nn.functional, or call .run_decompositions() on the program before it is saved",
        reason="OPERATOR_UNSUPPORTED",
        field=_short(operator),
        node=_short(field),
        expected="torch.ops.aten, torch.ops.prims",
    )


def _check_expression(expression: str) -> None:
    plain = _LITERAL.sub(r" \1 ", expression)
    arithmetic = len(expression) <= EXPRESSION_CHARS_MAX and _EXPRESSION.fullmatch(plain) is not None
    attribute = re.search(r"\.\s*[A-Za-z_]|\)\s*\.|\w\s*\.\s*\w*[A-Za-z_(]", plain)
    words = _WORD.findall(plain)
    if (
        not arithmetic
        or attribute
        or not all(_FUNCTION.fullmatch(word) or _SYMBOL.fullmatch(word) for word in words)
    ):
        raise _code("a size is not plain arithmetic", _short(expression))


def _check_tree(spec: str) -> None:
    """Check how arguments and results are nested."""
    try:
        protocol, tree = json.loads(spec)
    except (ValueError, TypeError) as error:
        raise _unreadable("models/model.json", "in_spec") from error
    if protocol != 1:
        raise _unreadable("models/model.json", "in_spec")
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        if not isinstance(node, dict) or node.get("type") not in _CONTAINERS:
            kind = node.get("type") if isinstance(node, dict) else node
            raise InvalidError(
                f"an argument or a result of the program is a {_short(str(kind))}; wrap the model so that it takes and "
                "returns tensors, lists, tuples and dicts, and export it again",
                reason="SOURCE_UNSUPPORTED",
                field=_short(str(kind)),
            )
        _check_keys(node.get("context"))
        waiting.extend(node.get("children_spec") or ())


def _check_keys(context: Any) -> None:
    """Check the keys of a dict: they become names of arguments."""
    keys = json.loads(context) if isinstance(context, str) else context
    for key in keys or ():
        _check(_IDENTIFIER, key, "key of an argument or a result")
    if isinstance(keys, dict):
        raise _code("a container has more than keys", "in_spec")


def _check(pattern: re.Pattern[str], name: Any, what: str) -> None:
    if not isinstance(name, str) or len(name) > NAME_CHARS_MAX or not pattern.fullmatch(name):
        raise _code(f"a {what} is not one that Python would give", _short(str(name)))


def _parsed(raw: bytes, path: str) -> dict[str, Any]:
    try:
        parsed = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise _unreadable(path, "") from error
    if not isinstance(parsed, dict):
        raise _unreadable(path, "")
    return parsed


def _unreadable(path: str, field: str) -> InvalidError:
    return InvalidError(
        f"{path} of the torch.export archive is not as torch 2.9 and later write it. {resaving.OLD_TORCH_EXPORT}",
        reason="SOURCE_UNREADABLE",
        path=path,
        field=_short(field),
    )


def _code(what: str, field: str) -> InvalidError:
    return InvalidError(
        f"the torch.export program could run code when it is read: {what} ({_short(field)}). {resaving.TORCH}",
        reason="CODE_REFUSED",
        field=_short(field),
    )


def _short(text: str) -> str:
    return text if len(text) <= 100 else text[:100] + "…"
