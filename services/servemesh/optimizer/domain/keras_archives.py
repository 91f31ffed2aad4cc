"""A Keras 3 archive's configuration: only layers that Keras has, so that reading one runs nobody's code."""

from __future__ import annotations

import json
import re
from typing import Any

from servemesh.errors import InvalidError
from servemesh.optimizer.domain import resaving

NESTING_MAX = 200

# Where objects of Keras live. keras.utils and keras.saving are not among them: they fetch and unpack files.
_MODULES = re.compile(
    r"keras(\.(layers|activations|initializers|regularizers|constraints|models|dtype_policies|quantizers)"
    r"|\.src\.(layers|activations|initializers|regularizers|constraints|models|dtype_policies|quantizers)(\.\w+)*"
    r"|\.src\.models\.(functional|sequential|model)|\.src\.ops\.(numpy|nn|math|linalg|image|core))?",
    re.ASCII,
)
# Layers that run code which is in the archive or is found through it.
_WITH_CODE = frozenset(
    {"Lambda", "TorchModuleWrapper", "TFSMLayer", "JaxLayer", "FlaxLayer", "RematScope", "MeshBackend"}
)
# They read vocabularies from files whose paths the archive names.
_WITH_FILES = frozenset({"StringLookup", "IntegerLookup", "TextVectorization", "HashedCrossing"})
_NAME = re.compile(r"(?!\.)[\w .:\-]{1,200}")
_FUNCTION = re.compile(r"\w{1,64}", re.ASCII)


def check_config(raw: bytes) -> None:
    """InvalidError naming the layer that runs code of its own, or that Keras does not have."""
    try:
        config = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise _unreadable() from error
    if not isinstance(config, dict) or "class_name" not in config:
        raise _unreadable()
    config["compile_config"] = None  # optimizers, losses and metrics are not read
    _walk(config, "the model", 0)


def _walk(value: Any, layer: str, depth: int) -> None:
    if depth > NESTING_MAX:
        raise _unreadable()
    if isinstance(value, list):
        for item in value:
            _walk(item, layer, depth + 1)
    elif isinstance(value, dict):
        layer = _named(value, layer)
        if "class_name" in value:
            _check_object(value, layer)
        for item in value.values():
            _walk(item, layer, depth + 1)


def _named(value: dict[str, Any], layer: str) -> str:
    config = value.get("config")
    name = config.get("name") if isinstance(config, dict) else value.get("name")
    if name is None:
        return layer
    if not isinstance(name, str) or not _NAME.fullmatch(name):  # it becomes a path in the file of weights
        raise _code(f"a layer has the name {str(name)[:50]!r}", layer)
    return name


def _check_object(value: dict[str, Any], layer: str) -> None:
    class_name, module = value["class_name"], value.get("module")
    registered = value.get("registered_name")
    if class_name in _WITH_CODE:
        raise _code(f"layer {layer!r} is a {class_name}, which runs code of its own", layer)
    if class_name in _WITH_FILES:
        raise InvalidError(
            f"layer {layer!r} is a {class_name}, which ONNX does not have: look words up before the call, and give the "
            "model numbers",
            reason="OPERATOR_UNSUPPORTED",
            field=layer,
            framework="keras",
        )
    if class_name == "function":
        if not isinstance(value.get("config"), str) or not _FUNCTION.fullmatch(value["config"]):
            raise _code(f"layer {layer!r} has a function that Keras does not", layer)
        if module not in ("builtins", None) and not _MODULES.fullmatch(str(module)):
            raise _code(f"layer {layer!r} has a function of module {str(module)[:50]!r}", layer)
        return
    if str(class_name).startswith("__"):  # __keras_tensor__, __tuple__, __numpy__ and the like are values
        if class_name in {"__lambda__", "__class__", "__bytes__"}:
            raise _code(f"layer {layer!r} has a {class_name}", layer)
        return
    if registered not in (None, class_name) or not _MODULES.fullmatch(str(module or "keras")):
        name = str(registered or f"{module}.{class_name}")[:80]
        raise _code(f"layer {layer!r} is {name}, which is not Keras's own", layer)


def _code(what: str, layer: str) -> InvalidError:
    return InvalidError(
        f"the Keras archive could run code when it is read: {what}. {resaving.KERAS_CODE}",
        reason="CODE_REFUSED",
        field=layer,
    )


def _unreadable() -> InvalidError:
    return InvalidError(
        "config.json of the Keras archive cannot be read: save the model again with Keras 3, as .keras",
        reason="SOURCE_UNREADABLE",
        field="config.json",
    )
