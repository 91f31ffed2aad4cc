"""What onnxruntime says of a model or of a run, without what it says of itself: codes, sources and folders."""

from __future__ import annotations

import re

CHARS_MAX = 300

_CODE = re.compile(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ")
_LOADING = re.compile(r"^(Load model from .*? failed|Exception during initialization): ?", re.DOTALL)
_RUNNING = re.compile(
    r"Non-zero status code returned while running (\S+) node\. Name:'(.*?)' Status Message: ", re.DOTALL
)
_SOURCE = re.compile(r"[\w./+-]+\.(?:cc|cpp|cu|cuh|h):\d+ ")
_AFTER_SIGNATURE = re.compile(r"^(?:::<lambda\(.*?\)>| const| \[with [^\]]*\])+")


def reason_of(error: Exception, folder: str = "") -> str:
    """Return in one line what `error` says of the model, or "" if it says nothing; `folder` is left out of it."""
    text = _LOADING.sub("", _CODE.sub("", str(error)))
    if folder:
        text = text.replace(f"{folder}/", "")
    text = _RUNNING.sub(_node, text)
    while found := _SOURCE.search(text):
        text = text[: found.start()] + _without_function(text[found.end() :])
    line = " ".join(text.split()).rstrip(" .")
    return line if len(line) <= CHARS_MAX else line[: CHARS_MAX - 1] + "…"


def _node(found: re.Match[str]) -> str:
    operator, name = found.groups()
    return f"node {name!r} ({operator}): " if name else f"a node {operator}: "


def _without_function(text: str) -> str:
    """Leave out the name of a C++ function, or its whole signature, at the beginning of `text`."""
    opening = text.find("(")
    if opening < 0 or "::" not in text[:opening]:
        return text.partition(" ")[2]
    depth = 0
    for index in range(opening, len(text)):
        depth += {"(": 1, ")": -1}.get(text[index], 0)
        if depth == 0:
            return _AFTER_SIGNATURE.sub("", text[index + 1 :]).lstrip()
    return ""
