"""`servemesh convert`, `optimize` and `evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from servemesh.cli import output
from servemesh.cli.commands.jobs import finish
from servemesh.cli.options import (
    Address,
    AsJson,
    Dataset,
    ModelName,
    Target,
    Wait,
    connected,
    duration_s,
    recipe_names,
    split_target,
)
from servemesh.client import Gate, JobLimits, MeasurementPlan
from servemesh.client.asking import AUTO

_SEARCH_TIME = "5m"

_Metric = Annotated[
    str,
    typer.Option(
        help="accuracy, f1, top_k, mse, cosine, wer or agreement.", show_default="what fits the labels"
    ),
]
_Batch = Annotated[
    list[int] | None,
    typer.Option(
        "--batch", min=1, metavar="ROWS", help="Rows per run that are measured.", show_default="1 and 8"
    ),
]
_Threads = Annotated[int, typer.Option(min=0, help="Of the runtime.", show_default="as the worker has")]
_Rounds = Annotated[
    int, typer.Option(min=0, max=100, help="In which original and variants take turns.", show_default="15")
]
_Time = Annotated[
    str | None,
    typer.Option(
        "--time",
        metavar="TIME",
        help="Most for the whole job, such as 90s, 5m or 1h; auto searches for 5m if not told.",
    ),
]


def convert(
    name: ModelName,
    path: Annotated[
        Path,
        typer.Argument(
            help="A trained program: .pt2, .keras, .skops, XGBoost or LightGBM file, or a folder."
        ),
    ],
    address: Address,
    dataset: Dataset = "",
    format_: Annotated[
        str,
        typer.Option(
            "--format",
            help="torch_export, hugging_face, keras, tensorflow, sklearn, xgboost or lightgbm.",
            show_default="by content",
        ),
    ] = "",
    tolerance: Annotated[
        float,
        typer.Option(min=0, help="Greatest difference, relative to the largest output.", show_default="1e-4"),
    ] = 0.0,
    time: _Time = None,
    wait: Wait = False,
    as_json: AsJson = False,
) -> None:
    """Convert a trained program to ONNX, check it against its framework, and add it to NAME as a version."""
    limits = JobLimits(time_s=duration_s(time, "--time"))
    with connected(address) as client:
        with output.progress_bar(f"push {path.name}", shown=not as_json) as report:
            asked = client.optimizer.convert(
                name,
                path,
                format=format_,
                dataset=dataset,
                tolerance=tolerance,
                limits=limits,
                on_progress=report,
            )
        finish(client, asked, wait=wait, as_json=as_json)


def optimize(
    target: Target,
    address: Address,
    recipe: Annotated[
        str,
        typer.Option(help="A recipe, see `servemesh recipe ls`; auto searches.", autocompletion=recipe_names),
    ] = AUTO,
    dataset: Dataset = "",
    loss_max: Annotated[
        float, typer.Option(help="Most of the metric that may be lost: 0.01 is one point of accuracy.")
    ] = 0.01,
    speedup_min: Annotated[
        float | None, typer.Option(min=0, help="Least speed after ÷ before.", show_default="none")
    ] = None,
    size_max: Annotated[
        float | None, typer.Option(min=0, help="Greatest size after ÷ before.", show_default="none")
    ] = None,
    time: _Time = None,
    alias: Annotated[
        str, typer.Option(metavar="NAME", help="Alias that is to point to the best variant.")
    ] = "",
    teacher: Annotated[
        str,
        typer.Option(
            metavar="VERSION|ALIAS|MODEL@VERSION",
            help="Whose answers passes that train learn.",
            show_default="the model itself",
        ),
    ] = "",
    metric: _Metric = "",
    batch: _Batch = None,
    threads: _Threads = 0,
    rounds: _Rounds = 0,
    wait: Wait = False,
    as_json: AsJson = False,
) -> None:
    """Make smaller and faster versions of a model, measured beside it; what keeps to the limits is registered.

    Exit status 1: no variant was accepted.
    """
    model, version = split_target(target)
    with connected(address) as client:
        asked = client.optimizer.optimize(
            model,
            version=version,
            recipe=recipe,
            dataset=dataset,
            gate=Gate(metric_loss_max=loss_max, size_ratio_max=size_max, speedup_min=speedup_min),
            measurement=_plan(metric, batch, threads, rounds),
            alias=alias,
            teacher=teacher,
            limits=JobLimits(time_s=duration_s(time or (_SEARCH_TIME if recipe == AUTO else None), "--time")),
        )
        finish(client, asked, wait=wait, as_json=as_json)


def evaluate(
    target: Target,
    address: Address,
    other: Annotated[
        str,
        typer.Argument(
            metavar="[VERSION|ALIAS|MODEL@VERSION]",
            help="What to compare with, in the same run; the same as --against.",
            show_default=False,
        ),
    ] = "",
    against: Annotated[
        str,
        typer.Option(metavar="VERSION|ALIAS|MODEL@VERSION", help="What to compare with, in the same run."),
    ] = "",
    dataset: Dataset = "",
    metric: _Metric = "",
    batch: _Batch = None,
    threads: _Threads = 0,
    rounds: _Rounds = 0,
    time: _Time = None,
    wait: Wait = False,
    as_json: AsJson = False,
) -> None:
    """Measure a version on a dataset: metric, size, speed, memory; alone, or beside another with a test of chance."""
    model, version = split_target(target)
    with connected(address) as client:
        asked = client.optimizer.evaluate(
            model,
            version=version,
            against=other or against,
            dataset=dataset,
            measurement=_plan(metric, batch, threads, rounds),
            limits=JobLimits(time_s=duration_s(time, "--time")),
        )
        finish(client, asked, wait=wait, as_json=as_json)


def _plan(metric: str, batch: list[int] | None, threads: int, rounds: int) -> MeasurementPlan:
    return MeasurementPlan(metric=metric, batch_sizes=tuple(batch or ()), threads=threads, rounds=rounds)
