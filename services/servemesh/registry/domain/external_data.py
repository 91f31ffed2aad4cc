"""External data: every tensor that lies in another file must lie in one that was uploaded, beside the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from servemesh.artifact_paths import path_fault
from servemesh.errors import InvalidError
from servemesh.registry.domain.onnx_models import ExternalTensor

DIGITS_MAX = 18


def check(entry_path: str, tensors: Sequence[ExternalTensor], sizes_bytes: Mapping[str, int]) -> None:
    """InvalidError unless each tensor lies inside a file of the artifact, in or below the folder of the entry."""
    folder = entry_path.rpartition("/")[0]
    for tensor in tensors:
        path = _path_of(tensor, folder)
        size_bytes = sizes_bytes.get(path)
        if size_bytes is None or path == entry_path:
            raise InvalidError(
                f"tensor {tensor.name!r} lies in the file {tensor.location!r}, which was not uploaded beside "
                f"{entry_path}: push the folder that holds both",
                reason="EXTERNAL_DATA_MISSING",
                tensor=tensor.name,
                location=tensor.location,
            )
        _check_range(tensor, size_bytes)


def _path_of(tensor: ExternalTensor, folder: str) -> str:
    location = tensor.location.removeprefix("./")
    why = path_fault(location)
    if why is not None or tensor.unknown_keys:
        what = why or f"it has unknown keys {', '.join(tensor.unknown_keys)}"
        raise InvalidError(
            f"the external data of tensor {tensor.name!r} at {tensor.location!r} is refused: {what}. External data "
            "must lie in a file in the folder of the model; save it again with "
            "onnx.save(model, path, save_as_external_data=True, location='weights.bin')",
            reason="EXTERNAL_DATA_REFUSED",
            tensor=tensor.name,
            location=tensor.location,
        )
    return f"{folder}/{location}" if folder else location


def _check_range(tensor: ExternalTensor, size_bytes: int) -> None:
    offset = _number(tensor, "offset", tensor.offset, default=0)
    length = _number(tensor, "length", tensor.length, default=tensor.needed_bytes)
    if length < 0 or length != tensor.needed_bytes or offset + length > size_bytes:
        raise InvalidError(
            f"tensor {tensor.name!r} needs {tensor.needed_bytes} bytes; the model places it at bytes {offset} to "
            f"{offset + length} of {tensor.location!r}, which has {size_bytes}: the files do not belong together",
            reason="EXTERNAL_DATA_RANGE",
            tensor=tensor.name,
            location=tensor.location,
            expected=tensor.needed_bytes,
            got=length,
        )


def _number(tensor: ExternalTensor, key: str, text: str, *, default: int) -> int:
    if not text:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= DIGITS_MAX):
        raise InvalidError(
            f"the external data of tensor {tensor.name!r} has {key} {text[:40]!r}, expected a whole number of bytes",
            reason="EXTERNAL_DATA_REFUSED",
            tensor=tensor.name,
            location=tensor.location,
        )
    return int(text)
