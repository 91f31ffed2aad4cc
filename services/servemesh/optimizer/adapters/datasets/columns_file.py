"""`columns.json` of a data folder: its columns with their files, how many rows there are and how they are split."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from servemesh.optimizer.domain.datasets import Column
from servemesh.optimizer.domain.splits import Shares

NAME = "columns.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """What a data folder holds; the rows of column i are in `files[i]`."""

    columns: tuple[Column, ...]
    files: tuple[str, ...]
    row_count: int
    shares: Shares


def write(folder: Path, contents: Contents) -> None:
    """Write the file, all or nothing."""
    columns = [
        {
            "name": column.name,
            "file": file,
            "datatype": column.datatype,
            "row_shape": list(column.row_shape),
            "label": column.label,
        }
        for column, file in zip(contents.columns, contents.files, strict=True)
    ]
    content = {"columns": columns, "row_count": contents.row_count, "split": asdict(contents.shares)}
    half = folder / f"{NAME}.half"
    half.write_text(json.dumps(content, indent=1))
    os.replace(half, folder / NAME)


def read(folder: Path) -> Contents:
    """Read it back."""
    content = json.loads((folder / NAME).read_text())
    columns = [
        Column(
            name=column["name"],
            datatype=column["datatype"],
            row_shape=tuple(column["row_shape"]),
            label=column["label"],
        )
        for column in content["columns"]
    ]
    return Contents(
        columns=tuple(columns),
        files=tuple(column["file"] for column in content["columns"]),
        row_count=content["row_count"],
        shares=Shares(**content.get("split", {})),
    )


def split_anew(folder: Path, shares: Shares) -> None:
    """Change how the rows of a data folder are divided; its columns stay as they are."""
    contents = read(folder)
    write(
        folder,
        Contents(columns=contents.columns, files=contents.files, row_count=contents.row_count, shares=shares),
    )
