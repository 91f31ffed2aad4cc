"""The parameters of a call: what the protocol reserves, read from its map."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from servemesh.errors import InvalidError, UnsupportedError

EMPTY_FINAL_RESPONSE = "triton_enable_empty_final_response"
PRIORITY_MAX = 65_535


@dataclass(frozen=True, slots=True, kw_only=True)
class CallParameters:
    """Priority (1 is first, 0 the default) and the time that the call may take (0 for no bound)."""

    priority: int = 0
    timeout_s: float = 0.0


class Output(Protocol):
    """The message InferRequestedOutputTensor."""

    name: str
    parameters: Mapping[str, Any]


def call_parameters(parameters: Mapping[str, Any]) -> CallParameters:
    """Read the parameters of a request; unknown ones are for others and pass.

    InvalidError for a reserved one that is unknown or of the wrong type.
    """
    for name in parameters:
        if name.startswith("triton_") and name != EMPTY_FINAL_RESPONSE:
            raise _invalid(name, "no name that begins with triton_", name)
    return CallParameters(
        priority=_whole(parameters, "priority", PRIORITY_MAX),
        timeout_s=_whole(parameters, "timeout", 1 << 62) / 1e6,
    )


def class_counts(outputs: Iterable[Output]) -> dict[str, int]:
    """Return how many best classes are asked for, by output; outputs without `classification` are absent."""
    counts = {}
    for output in outputs:
        if not output.parameters:
            continue
        if "shared_memory_region" in output.parameters:
            raise UnsupportedError("shared memory is not offered here: outputs come in the message")
        if "classification" in output.parameters:
            count = _whole(output.parameters, "classification", 1 << 31)
            if count == 0:
                raise _invalid("classification", "1 or more", count)
            counts[output.name] = count
    return counts


def _whole(parameters: Mapping[str, Any], name: str, most: int) -> int:
    if name not in parameters:
        return 0
    parameter = parameters[name]
    kind = parameter.WhichOneof("parameter_choice")
    value = getattr(parameter, kind) if kind in ("int64_param", "uint64_param") else None
    if value is None or not 0 <= value <= most:
        raise _invalid(name, f"a whole number from 0 to {most}", value if value is not None else kind)
    return int(value)


def _invalid(name: str, expected: str, got: object) -> InvalidError:
    field = f"parameters.{name}"
    return InvalidError(
        f"{field} is {got}, expected {expected}",
        reason="PARAMETER_INVALID",
        field=field,
        expected=expected,
        got=got,
    )
