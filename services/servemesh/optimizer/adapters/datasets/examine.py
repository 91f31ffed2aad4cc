"""Reads what a user gave as a Dataset: finds the format by content, checks every column, writes the data folder."""

from __future__ import annotations

import codecs
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from servemesh.errors import InvalidError
from servemesh.optimizer.adapters.datasets import arrow_columns, columns_file, npy_columns
from servemesh.optimizer.adapters.datasets.column_files import ColumnWriter
from servemesh.optimizer.adapters.datasets.source_column import SourceColumn, canonical
from servemesh.optimizer.domain.datasets import Column, check_names, check_row_counts
from servemesh.optimizer.domain.splits import Shares
from servemesh.optimizer.domain.work import Report

BYTES_MAX = 16 * 1024**3
_BEGINNING_BYTES = 4096


def run(arguments: dict[str, Any], folder: Path, report: Report) -> dict[str, Any]:
    """Examine the files under `source`, write them as columns under `out`, and say what they are.

    `split` (the shares, by name) and `bytes_max` (of all columns, unpacked) may be left out.
    """
    labels = list(arguments["labels"])
    target = folder / arguments["out"]
    target.mkdir(parents=True, exist_ok=True)
    report.progress(0.0, "reading the data")
    kind, sources = _sources(folder / arguments["source"], arguments.get("bytes_max", BYTES_MAX))
    check_names([source.name for source in sources], labels)
    row_count = check_row_counts([(source.name, source.row_count) for source in sources])
    columns = _written(sources, labels, target, arguments.get("bytes_max", BYTES_MAX), report)
    columns_file.write(
        target,
        columns_file.Contents(
            columns=tuple(columns),
            files=tuple(_file(index) for index in range(len(columns))),
            row_count=row_count,
            shares=Shares(**arguments.get("split") or {}),
        ),
    )
    return {
        "format": kind,
        "columns": [
            {
                "name": column.name,
                "datatype": column.datatype,
                "row_shape": list(column.row_shape),
                "label": column.label,
            }
            for column in columns
        ],
        "row_count": row_count,
    }


def _written(
    sources: Sequence[SourceColumn], labels: Sequence[str], target: Path, bytes_max: int, report: Report
) -> list[Column]:
    columns = []
    for index, source in enumerate(sources):
        report.progress(index / len(sources), f"reading column {source.name}")
        with ColumnWriter(
            target / _file(index),
            name=source.name,
            label=source.name in labels,
            row_count=source.row_count,
            bytes_max=bytes_max,
        ) as writer:
            for block in source.blocks():
                writer.append(*canonical(source.name, block))
            columns.append(writer.finished())
        bytes_max = writer.bytes_left
    return columns


def _file(index: int) -> str:
    return f"{index}.npy"


def _sources(folder: Path, bytes_max: int) -> tuple[str, list[SourceColumn]]:
    files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    if not files:
        raise _unknown("no file")
    beginnings = {file: _beginning(file) for file in files}
    if all(beginning.startswith(npy_columns.MAGIC) for beginning in beginnings.values()):
        return "arrays", npy_columns.of_folder(folder, files, bytes_max)
    if len(files) > 1:
        wrong = next(file for file in files if not beginnings[file].startswith(npy_columns.MAGIC))
        raise _unknown(
            f"{len(files)} files, of which {wrong.relative_to(folder).as_posix()!r} is no .npy file"
        )
    file, beginning = files[0], beginnings[files[0]]
    if beginning.startswith(arrow_columns.PARQUET_MAGIC):
        return "parquet", arrow_columns.of_parquet(file)
    if beginning.startswith(b"PK") and zipfile.is_zipfile(file):
        return "npz", npy_columns.of_archive(file, bytes_max)
    if _is_plain_text(beginning) and file.suffix.lower() in (".csv", ".txt", ""):
        return "csv", arrow_columns.of_csv(file)
    raise _unknown(f"the file {file.name!r}, which is none of these")


def _beginning(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_BEGINNING_BYTES)


def _is_plain_text(beginning: bytes) -> bool:
    """Whether the bytes are UTF-8, as far as they go: a character may be cut at the end."""
    try:
        codecs.getincrementaldecoder("utf-8")().decode(beginning)
    except UnicodeDecodeError:
        return False
    return b"\0" not in beginning and bool(beginning.strip())


def _unknown(got: str) -> InvalidError:
    return InvalidError(
        f"a Dataset is one .npz, .parquet or .csv file, or a folder of .npy files, got {got}: save arrays with "
        "numpy.savez('data.npz', image=images, label=labels)",
        reason="DATASET_FORMAT_UNKNOWN",
        field="source",
        expected="one .npz, .parquet or .csv file, or a folder of .npy files",
        got=got,
    )
