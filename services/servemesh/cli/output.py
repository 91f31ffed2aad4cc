"""How commands print: JSON for scripts, tables and progress bars for people, errors as one paragraph."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn
from rich.table import Table

from servemesh.client import Tensor, Traffic
from servemesh.client.retries import NO_ANSWER
from servemesh.errors import ServemeshError

# No emoji: a colon in the name of a tensor is a colon.
out = Console(highlight=False, emoji=False)
err = Console(stderr=True, highlight=False, emoji=False)

_STYLES = {
    "READY": "green",
    "ACTIVE": "green",
    "SUCCEEDED": "green",
    "FAILED": "red",
    "CANCELLED": "red",
    "BACKOFF": "red",
    "UNLOADED": "dim",
    "STOPPED": "dim",
    "RESTING": "dim",
}


def print_json(value: Any) -> None:
    """Print one value as JSON on stdout."""
    sys.stdout.write(json.dumps(plain(value), indent=2, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def plain(value: Any) -> Any:
    """Return `value` in the types that JSON has."""
    if isinstance(value, Enum):
        return value.value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {item.name: plain(getattr(value, item.name)) for item in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return value


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, empty: str) -> None:
    """Print rows under headings; the sentence `empty` if there are none."""
    table = table_of(columns, rows)
    out.print(table if table.row_count else empty)


def table_of(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Table:
    """Return rows under headings, states in colour. The first column names its row and stays whole, to be copied."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for place, column in enumerate(columns):
        table.add_column(column, overflow="fold", no_wrap=place == 0)
    for row in rows:
        table.add_row(*(_cell(value) for value in row))
    return table


def state_text(state: str) -> str:
    """Return a state in its colour."""
    style = _STYLES.get(state, "yellow")
    return f"[{style}]{state}[/{style}]"


def _cell(value: object) -> str:
    text = "" if value is None else str(value)
    return state_text(text) if text.isupper() and (text in _STYLES or text.endswith("ING")) else escape(text)


def size(size_bytes: int) -> str:
    """Return a number of bytes in words."""
    amount = float(size_bytes)
    for unit in ("B", "KiB", "MiB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} GiB"


def signature(tensors: Sequence[Tensor]) -> str:
    """Return the inputs or the outputs of a model in one line."""
    return ", ".join(f"{tensor.name} {tensor.datatype}{shape(tensor)}" for tensor in tensors) or "nothing"


def shape(tensor: Tensor) -> str:
    """Return the shape of a tensor; `?` where any size is taken."""
    return "[" + ",".join("?" if size < 0 else str(size) for size in tensor.shape) + "]"


def shares(traffic: Sequence[Traffic]) -> str:
    """Return which versions or aliases answer, with their shares if there are several."""
    if len(traffic) == 1:
        return traffic[0].target
    return ", ".join(f"{share.target} ({share.weight_percent} %)" for share in traffic)


@contextmanager
def progress_bar(what: str, *, shown: bool) -> Iterator[Callable[[int, int], None]]:
    """Show the progress of a transfer on stderr while it is a terminal; give what is to be told of it."""
    if not shown or not err.is_terminal:
        yield lambda moved, total: None
        return
    columns = (TextColumn(what), BarColumn(), DownloadColumn(binary_units=True), TransferSpeedColumn())
    with Progress(*columns, console=err, transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda moved, total: bar.update(task, completed=moved, total=total)


def print_error(error: ServemeshError, *, as_json: bool) -> None:
    """Print what was wrong, where, and what to do; for scripts also as JSON on stdout."""
    text = explained(error)
    if as_json:
        print_json({"error": {"reason": error.reason, "message": text, "metadata": error.metadata}})
    err.print(f"[red]Error:[/red] {escape(text)}", soft_wrap=True)


def explained(error: ServemeshError) -> str:
    """Return the error's text, with what to do about it where the mesh cannot know that."""
    if error.reason == NO_ANSWER:
        return (
            f"{error.message}; start one with `servemesh up`, "
            "or name another address with --address or SERVEMESH_ADDRESS."
        )
    if error.reason == "MODEL_NOT_FOUND":
        return (
            f"{error.message}. `servemesh status` shows what is deployed, `servemesh model ls` what was pushed; "
            "deploy one with `servemesh deploy NAME --wait 60`."
        )
    return error.message
