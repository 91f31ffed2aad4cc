"""What a user is told of a program that its converter cannot translate."""

from __future__ import annotations

import re

from servemesh.errors import InvalidError, ServemeshError

CAUSE_CHARS_MAX = 300
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_PATHS = re.compile(r"(?:/[\w.@+-]+){2,}/?")
_OPERATORS = (
    re.compile(r"No ONNX function found for <OpOverload\(op='([\w.:]+)'"),
    re.compile(r"No decompositions? (?:registered )?for (?:the )?(?:complex-valued )?\S*?'?([\w:.]+)"),
    re.compile(r"target: ([\w.:]+)"),
    re.compile(r"Unable to find a shape calculator for type '?(?:<class ')?([\w.]+)"),
    re.compile(r"(?:Unable to find converter for|unable to find a converter for) .*?([\w.]*\w)['\">)]", re.I),
    re.compile(r"Tensorflow op \[.*?: (\w+)\] is not supported"),
)


def unsupported(error: Exception, framework: str, advice: str) -> ServemeshError:
    """Return the error that names the operator of `error`, if it does, and what to try."""
    if isinstance(error, ServemeshError | MemoryError):
        raise error
    text = _chain(error)
    operator = next((found[1] for pattern in _OPERATORS if (found := pattern.search(text))), "")
    if operator:
        return InvalidError(
            f"{framework} has {operator}, which the converter to ONNX does not know: {advice}",
            reason="OPERATOR_UNSUPPORTED",
            field=operator,
            framework=framework,
        )
    cause = shown(error)
    return InvalidError(
        f"the {framework} program does not convert to ONNX ({cause}): {advice}",
        reason="CONVERSION_FAILED",
        framework=framework,
        cause=cause,
    )


def shown(error: Exception) -> str:
    """Return the first telling line of what a library says of the program, without paths."""
    lines = (line.strip() for line in _COLOURS.sub("", str(error)).splitlines())
    line = next((line for line in lines if line), type(error).__name__)
    return _PATHS.sub("…", line)[:CAUSE_CHARS_MAX]


def _chain(error: BaseException | None) -> str:
    texts: list[str] = []
    while error is not None and len(texts) < 8:
        texts.append(str(error))
        error = error.__cause__ or error.__context__
    return "\n".join(texts)
