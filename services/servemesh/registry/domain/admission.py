"""Whether an artifact may become a Version: which file is the model, and what it promises to its callers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from servemesh.errors import InvalidError
from servemesh.registry.domain import external_data, operators, signatures
from servemesh.registry.domain.models import Signature
from servemesh.registry.domain.onnx_models import FileDescription, ModelDescription

PREFERRED_ENTRY = "model.onnx"
NAMES_SHOWN_MAX = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Admitted:
    """What was found: the file that the runtime opens, its signature, and what the user should know."""

    entry_path: str
    signature: Signature
    warnings: tuple[str, ...] = ()


def admit(files: Sequence[FileDescription], describe: Callable[[str], ModelDescription]) -> Admitted:
    """Return what the artifact is; InvalidError with a reason that a stranger understands if it is refused.

    `describe` is called once, with the path of the entry.
    """
    entry_path = entry_of(files)
    model = describe(entry_path)
    if model.fault:
        raise InvalidError(
            f"{entry_path} is an ONNX file that is not valid: {model.fault}. Check it with "
            "onnx.checker.check_model and export it again",
            reason="MODEL_INVALID",
            path=entry_path,
        )
    warnings = operators.check(model)
    external_data.check(entry_path, model.external, {file.path: file.size_bytes for file in files})
    signature, notes = signatures.signature_of(model)
    return Admitted(entry_path=entry_path, signature=signature, warnings=(*warnings, *notes))


def entry_of(files: Sequence[FileDescription]) -> str:
    """Return the path of the file that the runtime opens.

    It is the only ONNX file by content, or the only one named model.onnx. A pickle anywhere in the artifact, no
    ONNX file, a damaged one, or several without a model.onnx among them are refused.
    """
    for file in files:
        if file.foreign is not None and (file.foreign.pickled or file.path.endswith(".onnx")):
            raise _foreign(file)
    for file in files:
        if file.damage:
            raise InvalidError(
                f"{file.path} begins like an ONNX file but cannot be read: {file.damage}. It may be cut short or "
                "damaged; export or copy it again",
                reason="MODEL_UNREADABLE",
                path=file.path,
            )
    models = [file.path for file in files if file.is_onnx]
    if not models:
        raise _no_model(files)
    preferred = [path for path in models if path.rpartition("/")[2] == PREFERRED_ENTRY]
    for choice in (models, preferred):
        if len(choice) == 1:
            return choice[0]
    raise InvalidError(
        f"there are {len(models)} ONNX files ({_shown(models)}); push one of them, or name the one to serve "
        f"{PREFERRED_ENTRY}",
        reason="ENTRY_AMBIGUOUS",
        paths=_shown(models),
    )


def _no_model(files: Sequence[FileDescription]) -> InvalidError:
    for file in files:
        if file.foreign is not None:
            return _foreign(file)
    paths = [file.path for file in files]
    if all(file.size_bytes == 0 for file in files):
        what = f"there is nothing in {_shown(paths)}"
    elif len(paths) == 1:
        what = f"{paths[0]} is not an ONNX model, nor another format known here"
    else:
        what = f"none of {len(paths)} files ({_shown(paths)}) is an ONNX model, nor another format known here"
    return InvalidError(
        f"{what}. Servemesh serves ONNX: export the model to ONNX and push the .onnx file, or the folder that "
        "holds it and its external data",
        reason="UNSUPPORTED_FORMAT",
        path=files[0].path,
        format="unknown",
    )


def _foreign(file: FileDescription) -> InvalidError:
    assert file.foreign is not None
    name = "is named .onnx, but its content is" if file.path.endswith(".onnx") else "is"
    danger = (
        " Pickles are never opened here: opening one runs the code in it." if file.foreign.pickled else ""
    )
    return InvalidError(
        f"{file.path} {name} {file.foreign.title}. Servemesh serves ONNX: {file.foreign.advice}.{danger}",
        reason="PICKLE_REFUSED" if file.foreign.pickled else "UNSUPPORTED_FORMAT",
        path=file.path,
        format=file.foreign.title,
    )


def _shown(paths: Sequence[str]) -> str:
    rest = len(paths) - NAMES_SHOWN_MAX
    return ", ".join(paths[:NAMES_SHOWN_MAX]) + (f" and {rest} more" if rest > 0 else "")
