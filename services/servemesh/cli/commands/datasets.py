"""`servemesh dataset`: push, ls, show, rm."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from servemesh.cli import output
from servemesh.cli.options import Address, AsJson, DatasetName, connected
from servemesh.client import Dataset, Split

app = typer.Typer(help="Rows for calibration, training and evaluation.", no_args_is_help=True)

_TIME = "%Y-%m-%d %H:%M:%S"


@app.command()
def push(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The new dataset.")],
    path: Annotated[
        Path,
        typer.Argument(help="An .npz, .parquet or .csv file, or a folder with one .npy file per column."),
    ],
    address: Address,
    label: Annotated[
        list[str] | None, typer.Option(metavar="COLUMN", help="A column that is an answer, not an input.")
    ] = None,
    calibrate: Annotated[int, typer.Option(min=0, max=100, help="Per cent of the rows that calibrate.")] = 10,
    train: Annotated[int, typer.Option(min=0, max=100, help="Per cent of the rows that train.")] = 70,
    evaluate: Annotated[int, typer.Option(min=0, max=100, help="Per cent of the rows that evaluate.")] = 20,
    seed: Annotated[int, typer.Option(help="Of the draw of the rows.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Upload rows. A column feeds the input of its name; labels are answers."""
    split = Split(calibrate_percent=calibrate, train_percent=train, evaluate_percent=evaluate, seed=seed)
    with connected(address) as client, output.progress_bar(f"push {name}", shown=not as_json) as report:
        found = client.optimizer.create_dataset(
            name, path, labels=label or [], split=split, on_progress=report
        )
    if as_json:
        output.print_json(found)
    else:
        _print(found)


@app.command()
def ls(address: Address, as_json: AsJson = False) -> None:
    """List the datasets."""
    with connected(address) as client:
        found = client.optimizer.datasets()
    if as_json:
        output.print_json(found)
        return
    rows = (
        (
            each.dataset,
            f"{each.row_count:,}",
            output.size(each.size_bytes),
            each.format,
            _columns(each, label=False),
            _columns(each, label=True),
            each.create_time.strftime(_TIME),
        )
        for each in found
    )
    columns = ("DATASET", "ROWS", "SIZE", "FORMAT", "INPUTS", "LABELS", "CREATED (UTC)")
    output.print_table(
        columns, rows, empty="No datasets yet: push one with `servemesh dataset push NAME PATH`."
    )


@app.command()
def show(name: DatasetName, address: Address, as_json: AsJson = False) -> None:
    """Show a dataset with its columns."""
    with connected(address) as client:
        found = client.optimizer.dataset(name)
    if as_json:
        output.print_json(found)
    else:
        _print(found)


@app.command()
def rm(name: DatasetName, address: Address, as_json: AsJson = False) -> None:
    """Delete a dataset; jobs that have ended keep what they found."""
    with connected(address) as client:
        client.optimizer.remove_dataset(name)
    if as_json:
        output.print_json({"removed": name})
    else:
        output.out.print(f"removed {name}")


def _print(found: Dataset) -> None:
    split = found.split
    output.out.print(
        f"{found.dataset}: {found.row_count:,} rows, {output.size(found.size_bytes)}, {found.format}; "
        f"{split.calibrate_percent} % calibrate, {split.train_percent} % train, {split.evaluate_percent} % evaluate",
        soft_wrap=True,
    )
    rows = [
        ("label" if column.label else "input", column.name, column.datatype, str(list(column.row_shape)))
        for column in found.columns
    ]
    output.print_table(("", "COLUMN", "DATATYPE", "SHAPE OF A ROW"), rows, empty="no columns")


def _columns(found: Dataset, *, label: bool) -> str:
    return ", ".join(column.name for column in found.columns if column.label is label)
