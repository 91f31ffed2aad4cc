"""Reads torch.export programs (.pt2) without unpickling anything and without running what strangers wrote."""

from __future__ import annotations

import zipfile
from pathlib import Path

import torch
from torch.export import ExportedProgram

from servemesh.errors import InvalidError
from servemesh.optimizer.adapters.converters import archives
from servemesh.optimizer.domain import resaving, torch_programs

PROGRAM = "models/model.json"
CONFIGS = ("data/weights/model_weights_config.json", "data/constants/model_constants_config.json")
SAMPLE_INPUTS = (
    "data/sample_inputs/model.pt"  # a pickle; written as nothing, which torch takes for "none given"
)
KEPT = ("archive_format", "archive_version", ".data/version", "byteorder", ".data/serialization_id")
PAYLOADS = ("data/weights/", "data/constants/")
SMALL_BYTES_MAX = 1024**2


def load(source: Path, folder: Path) -> ExportedProgram:
    """Return the program in `source`; InvalidError if it could run code. `folder` gets a checked copy."""
    checked = folder / "checked.pt2"
    _copy_checked(source, checked)
    try:
        return torch.export.load(checked)
    except InvalidError:
        raise
    except Exception as error:  # whatever torch finds wrong with a program, it is the program's fault
        raise InvalidError(
            "torch cannot read the program: it is damaged, needs operators of a library that is not here, or was "
            f"saved by a newer torch than {torch.__version__}. Export it again with torch 2.9 to {torch.__version__}",
            reason="SOURCE_UNREADABLE",
            torch=torch.__version__,
        ) from error
    finally:
        checked.unlink(missing_ok=True)


def _copy_checked(source: Path, target: Path) -> None:
    """Write an archive that holds what a program needs, each part of it checked, and nothing else."""
    with archives.opened(source) as archive, zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as copy:
        root = _root(archive)
        names = {name.removeprefix(root) for name in archive.namelist() if not name.endswith("/")}
        _check_whole(names)
        for name in KEPT:
            if name in names:
                copy.writestr(f"model/{name}", archives.read(archive, root + name, SMALL_BYTES_MAX))
        if archives.read(archive, f"{root}byteorder", 64).strip() != b"little":
            raise _unreadable("it was saved on a big-endian machine")
        copy.writestr(f"model/{SAMPLE_INPUTS}", b"")
        copy.writestr(
            f"model/{PROGRAM}", torch_programs.checked_program(archives.read(archive, root + PROGRAM))
        )
        for name in CONFIGS:
            copy.writestr(
                f"model/{name}", torch_programs.checked_payload(archives.read(archive, root + name), name)
            )
        for name in sorted(names - set(CONFIGS)):
            if name.startswith(PAYLOADS) and name.rpartition("/")[2].replace("_", "").isalnum():
                _copy_member(archive, root + name, copy, f"model/{name}")


def _copy_member(archive: zipfile.ZipFile, name: str, copy: zipfile.ZipFile, new_name: str) -> None:
    bytes_max = archives.UNPACKED_BYTES_MAX
    with (
        archives.member(archive, name, bytes_max) as reading,
        copy.open(new_name, "w", force_zip64=True) as writing,
    ):
        while chunk := reading.read(archives.CHUNK_BYTES):
            writing.write(chunk)


def _root(archive: zipfile.ZipFile) -> str:
    roots = [
        name.removesuffix("archive_format")
        for name in archive.namelist()
        if name.endswith("archive_format") and name.count("/") == 1
    ]
    if len(roots) != 1 or archives.read(archive, f"{roots[0]}archive_format", 64) != b"pt2":
        raise _unreadable("it has no archive_format")
    return roots[0]


def _check_whole(names: set[str]) -> None:
    programs = [name for name in names if name.startswith("models/")]
    if programs != [PROGRAM]:
        raise _unreadable(f"it has {len(programs)} programs, expected one named model")
    missing = {PROGRAM, "byteorder", *CONFIGS} - names
    if missing:
        raise _unreadable(f"{min(missing)} is missing")


def _unreadable(why: str) -> InvalidError:
    return InvalidError(
        f"the torch.export archive cannot be read: {why}. {resaving.OLD_TORCH_EXPORT}",
        reason="SOURCE_UNREADABLE",
    )
