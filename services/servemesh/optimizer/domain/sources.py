"""What a source is, told by its content and never by its name; what is refused, and how to save it safely again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from servemesh.errors import InvalidError
from servemesh.formats import FileSample, ForeignFormat, foreign_format
from servemesh.optimizer.domain import resaving

NAMES_SHOWN_MAX = 5


class SourceFormat(StrEnum):
    """The formats that are converted; the values are those of the API, in lower case."""

    TORCH_EXPORT = "torch_export"
    HUGGING_FACE = "hugging_face"
    KERAS = "keras"
    TENSORFLOW = "tensorflow"
    SKLEARN = "sklearn"
    XGBOOST = "xgboost"
    LIGHTGBM = "lightgbm"


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFile:
    """One file of a source. `texts` holds its own bytes under "" if it is a small JSON file."""

    sample: FileSample
    texts: Mapping[str, bytes] = field(default_factory=dict)

    @property
    def path(self) -> str:
        """Its path in the source, with forward slashes."""
        return self.sample.path

    @property
    def folder(self) -> str:
        """The folder that it lies in, empty for the source's own."""
        return self.path.rpartition("/")[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recognised:
    """What a source is. `path` is the file to convert, or the folder, empty for the source's own.

    `left_out` are pickles that lie beside a Hugging Face model; they are never opened.
    """

    format: SourceFormat
    path: str
    left_out: tuple[str, ...] = ()


def recognise(files: Sequence[SourceFile], wanted: str = "") -> Recognised:
    """Return what `files` are; InvalidError with the way to save them safely if they are refused.

    `wanted` is the format that the user named, if any: other content is an error.
    """
    found = _folder_format(files) or _file_format(files)
    if wanted and found.format != wanted:
        raise InvalidError(
            f"the source is {found.format.value} by its content, not {wanted}; leave the format out or name "
            "the right one",
            reason="SOURCE_FORMAT_MISMATCH",
            field="format",
            expected=wanted,
            got=found.format.value,
        )
    return found


def _folder_format(files: Sequence[SourceFile]) -> Recognised | None:
    """A SavedModel or a Hugging Face folder, if there is one."""
    for file in files:
        if file.path.rpartition("/")[2] == "saved_model.pb" and file.sample.head[:1] in (b"\x08", b"\x12"):
            return Recognised(format=SourceFormat.TENSORFLOW, path=file.folder)
    paths = {file.path for file in files}
    for file in files:
        if file.path.rpartition("/")[2] != "config.json" or b'"model_type"' not in file.texts.get("", b""):
            continue
        beside = [other for other in files if other.folder == file.folder]
        pickles = tuple(other.path for other in beside if _is_pickled(other.sample))
        if any(_is_safetensors(other.sample) for other in beside):
            return Recognised(format=SourceFormat.HUGGING_FACE, path=file.folder, left_out=pickles)
        if pickles:
            raise _refused(pickles[0], "weights in a pickle", resaving.HUGGING_FACE, pickled=True)
        raise InvalidError(
            f"there is a config.json of Hugging Face and no .safetensors file beside it. {resaving.HUGGING_FACE}",
            reason="SOURCE_UNSUPPORTED",
            path=file.path,
            files=len(paths),
        )
    return None


def _file_format(files: Sequence[SourceFile]) -> Recognised:
    """The one file that is converted."""
    foreign = [(file, foreign_format(file.sample)) for file in files]
    for file, found in foreign:
        if found is not None and found.pickled:
            raise _refused(file.path, found.title, resaving.of_pickle(found.title), pickled=True)
    for file in files:
        _check_convertible(file.sample)
    fits = [
        Recognised(format=format_, path=file.path)
        for file in files
        for format_, is_it in _RULES
        if is_it(file.sample)
    ]
    if len(fits) == 1:
        return fits[0]
    if fits:
        raise InvalidError(
            f"there are {len(fits)} programs in the source ({_shown([fit.path for fit in fits])}); give one of them",
            reason="SOURCE_AMBIGUOUS",
            paths=_shown([fit.path for fit in fits]),
        )
    raise _unknown(files, foreign)


def _check_convertible(sample: FileSample) -> None:
    if _is_onnx(sample):
        raise InvalidError(
            f"{sample.path} is an ONNX model already: push it with 'servemesh model push NAME {sample.path}'",
            reason="SOURCE_IS_ONNX",
            path=sample.path,
        )
    if _has_member(sample, "serialized_exported_program.json"):
        raise _refused(sample.path, "a torch.export archive of an old kind", resaving.OLD_TORCH_EXPORT)
    if any("/aotinductor/" in f"/{member}" for member in sample.members):
        raise _refused(sample.path, "a compiled program of torch (AOTInductor)", resaving.TORCH)


def _unknown(
    files: Sequence[SourceFile], foreign: Sequence[tuple[SourceFile, ForeignFormat | None]]
) -> InvalidError:
    for file, found in foreign:
        if found is not None:
            return _refused(file.path, found.title, resaving.of_title(found.title, found.advice))
    paths = [file.path for file in files]
    return InvalidError(
        f"{_shown(paths) or 'nothing'}: no program of a framework that is known here. {resaving.KNOWN}",
        reason="SOURCE_UNSUPPORTED",
        path=paths[0] if paths else "",
        format="unknown",
    )


def _refused(path: str, title: str, advice: str, *, pickled: bool = False) -> InvalidError:
    danger = " Pickles are never opened here: opening one runs the code in it." if pickled else ""
    return InvalidError(
        f"{path} is {title}. {advice}{danger}",
        reason="PICKLE_REFUSED" if pickled else "SOURCE_UNSUPPORTED",
        path=path,
        format=title,
    )


def _is_pickled(sample: FileSample) -> bool:
    found = foreign_format(sample)
    return found is not None and found.pickled


def _is_safetensors(sample: FileSample) -> bool:
    header_bytes = int.from_bytes(sample.head[:8], "little")
    return sample.head[8:9] == b"{" and 2 <= header_bytes <= sample.size_bytes - 8


def _is_onnx(sample: FileSample) -> bool:
    """Whether it begins with an IR version that ONNX has, followed by a field of a model."""
    head = sample.head
    return head[:1] == b"\x08" and 3 <= (head[1:2] or b"\0")[0] <= 31 and head[2:3] in _AFTER_IR_VERSION


_AFTER_IR_VERSION = (b"\x12", b"\x1a", b"\x22", b"\x28", b"\x32", b"\x3a", b"\x42", b"\x72")


def _has_member(sample: FileSample, name: str) -> bool:
    return any(member == name or member.endswith(f"/{name}") for member in sample.members)


def _is_torch_export(sample: FileSample) -> bool:
    return _has_member(sample, "archive_format") or _has_member(sample, "models/model.json")


def _is_keras(sample: FileSample) -> bool:
    return {"metadata.json", "config.json"} <= set(sample.members)


def _is_skops(sample: FileSample) -> bool:
    return "schema.json" in sample.members


def _is_xgboost(sample: FileSample) -> bool:
    return sample.head.lstrip()[:1] == b"{" and b"learner" in sample.head


def _is_lightgbm(sample: FileSample) -> bool:
    return sample.head.replace(b"\r\n", b"\n").startswith(b"tree\nversion=")


_RULES: Sequence[tuple[SourceFormat, Callable[[FileSample], bool]]] = (
    (SourceFormat.TORCH_EXPORT, _is_torch_export),
    (SourceFormat.KERAS, _is_keras),
    (SourceFormat.SKLEARN, _is_skops),
    (SourceFormat.XGBOOST, _is_xgboost),
    (SourceFormat.LIGHTGBM, _is_lightgbm),
)


def _shown(paths: Sequence[str]) -> str:
    rest = len(paths) - NAMES_SHOWN_MAX
    return ", ".join(paths[:NAMES_SHOWN_MAX]) + (f" and {rest} more" if rest > 0 else "")
