"""How jobs of the optimizer are shown: a bar while they run, tables of what they found."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from servemesh.cli import output
from servemesh.client import (
    Conversion,
    Evaluation,
    Interval,
    Job,
    Measurements,
    Optimization,
    Speed,
    Step,
    Variant,
)
from servemesh.client.jobs import AnyJob

Defaults = Mapping[str, Mapping[str, Any]]
"""Of the parameters of passes: what is not said again of a step."""

_SAY_S = 5.0
_SIGNIFICANT = 0.05
_STEP_CHARS = 44


@contextmanager
def job_bar(*, shown: bool) -> Iterator[Callable[[Job], None]]:
    """Show how a job stands on stderr, as a bar on a terminal and else now and then as a line."""
    if not shown:
        yield lambda job: None
    elif not output.err.is_terminal:
        yield _now_and_then()
    else:
        columns = (
            TextColumn("{task.description}", style="bold"),
            BarColumn(bar_width=24),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[step]}", style="dim"),
        )
        with Progress(*columns, console=output.err, transient=True) as bar:
            task = bar.add_task("queued", total=100, step="")

            def told(job: Job) -> None:
                step = job.step if len(job.step) <= _STEP_CHARS else f"{job.step[: _STEP_CHARS - 1]}…"
                bar.update(
                    task, description=job.state.lower(), completed=job.progress_percent, step=escape(step)
                )

            yield told


def print_job(found: AnyJob, defaults: Defaults, console: Console) -> None:
    """Print how a job stands and what it found."""
    job = found.job
    took = f" in {_took_s(job):.0f} s" if job.is_ended else f", {job.progress_percent:.0f} % {job.step}"
    console.print(
        f"[bold]{found.name}[/bold] {output.state_text(job.state)}{escape(took)}: {escape(_what(found))}",
        soft_wrap=True,
    )
    if job.error:
        place = f" ({job.error.field})" if job.error.field else ""
        console.print(
            f"[red]{job.error.reason}[/red]{escape(place)}: {escape(job.error.message)}", soft_wrap=True
        )
    if isinstance(found, Conversion):
        _print_conversion(found, console)
    elif found.result:
        print_measurements(with_names(found, found.result), defaults, console)
        if isinstance(found, Evaluation):
            _print_significance(found.result, console)


def print_measurements(result: Measurements, defaults: Defaults, console: Console) -> None:
    """Print the baseline and every variant, best first, with why the refused were refused."""
    sizes = sorted({speed.batch_size for each in _all(result) for speed in each.speeds})
    columns = ("", "MODEL", "SIZE", "C", *(f"O AT {size}" for size in sizes), "METRIC", "LOSS", "VERDICT")
    rows = [_row(each, sizes, defaults, is_first=each is _all(result)[0]) for each in _all(result)]
    console.print()
    console.print(output.table_of(columns, rows))
    for variant in result.variants:
        for refusal in variant.refusals:
            console.print(
                f"  {escape(words(variant, defaults))}: {escape(refusal)}", style="dim", soft_wrap=True
            )
    hardware = result.hardware
    if hardware.processor:
        libraries = ", ".join(f"{name} {version}" for name, version in result.libraries.items())
        console.print(
            "\n[dim]* no other variant is better in metric, size and speed at once. C: size after ÷ before. O: speed "
            "after ÷ before at so many rows per run. \\[95 % intervals].\n"
            f"Measured on {escape(hardware.processor)}, {hardware.processor_count} processors, "
            f"{escape(hardware.provider)}; {escape(libraries)}[/dim]"
        )


def words(variant: Variant, defaults: Defaults) -> str:
    """Return the passes that made a variant, with the parameters that are not their defaults."""
    if not variant.steps:
        return f"{variant.model}@{variant.version}" if variant.version else "original"
    return " + ".join(_step(step, defaults.get(step.pass_id, {})) for step in variant.steps)


def figure(found: Interval | None, digits: int = 3) -> str:
    """Return a figure with its interval, nothing if it was not measured."""
    if found is None:
        return ""
    value, low, high = (f"{number:.{digits}f}" for number in (found.value, found.low, found.high))
    return value if low == high == value else f"{value} [{low}, {high}]"


def _print_significance(result: Measurements, console: Console) -> None:
    for variant in result.variants:
        if told := significance(variant):
            console.print(told)


def significance(variant: Variant) -> str:
    """Return whether what a variant lost or gained may be chance."""
    loss, chance = variant.metric_loss, variant.metric_loss_chance
    if loss is None or chance is None or loss.value == 0:
        return ""
    lost = f"a loss of {loss.value:.4g}" if loss.value > 0 else f"a gain of {-loss.value:.4g}"
    verdict = "is significant" if chance < _SIGNIFICANT else "may be chance"
    return f"A{lost[1:]} {verdict} (p = {chance:.2g}, paired permutation test)"


def with_names(found: Optimization | Evaluation, result: Measurements) -> Measurements:
    """Return the measurements with the Versions that were measured, where the job registers none."""
    if isinstance(found, Optimization):
        return result
    model, _, version = found.baseline.partition("@")
    baseline = replace(result.baseline, model=model, version=int(version)) if result.baseline else None
    variants = [replace(each, model=found.model, version=found.version) for each in result.variants]
    return replace(result, baseline=baseline, variants=tuple(variants))


def _all(result: Measurements) -> list[Variant]:
    return [*([result.baseline] if result.baseline else []), *result.variants]


def _row(variant: Variant, sizes: list[int], defaults: Defaults, *, is_first: bool) -> tuple[object, ...]:
    """Return the cells of one model; the first is what the others are compared with, and has its times instead."""
    by_size = {speed.batch_size: speed for speed in variant.speeds}
    speeds = [by_size.get(size) for size in sizes]
    return (
        "*" if variant.pareto else "",
        words(variant, defaults),
        output.size(variant.size_bytes),
        "" if is_first else f"{variant.size_ratio:.2f}",
        *(_speed(speed, is_first=is_first) for speed in speeds),
        figure(variant.metric),
        "" if is_first else figure(variant.metric_loss),
        verdict(variant),
    )


def _speed(speed: Speed | None, *, is_first: bool) -> str:
    if speed is None:
        return ""
    return f"{speed.run_ms.value:.3g} ms" if is_first else figure(speed.speedup, 2)


def verdict(variant: Variant) -> str:
    """Return what became of a variant."""
    if variant.version and variant.steps:
        return f"version {variant.version}"
    if variant.accepted:
        return "accepted"
    return "refused" if variant.refusals else ""


def _step(step: Step, defaults: Mapping[str, Any]) -> str:
    told = [
        f"{name}={_short(value)}"
        for name, value in sorted(step.parameters.items())
        if name not in defaults or defaults[name] != value
    ]
    return f"{step.pass_id}({', '.join(told)})" if told else step.pass_id


def _short(value: Any) -> str:
    return "[" + ", ".join(map(str, value)) + "]" if isinstance(value, list) else str(value)


def _print_conversion(found: Conversion, console: Console) -> None:
    result = found.result
    if result is None:
        return
    parity = result.parity
    kind = "generated" if parity.generated else "real"
    agreement = (
        f", the same arg-max in {parity.argmax_agreement:.1%}" if parity.argmax_agreement is not None else ""
    )
    console.print(
        f"{result.model} version {result.version} from {result.format}: on {parity.row_count} {kind} rows within "
        f"{parity.max_abs:.2g} of the original ({parity.max_rel:.2g} of the largest output){agreement}",
        soft_wrap=True,
    )
    for warning in result.warnings:
        console.print(f"[yellow]Note:[/yellow] {escape(warning)}", soft_wrap=True)


def _what(found: AnyJob) -> str:
    dataset = f", dataset {found.dataset}" if found.dataset else ""
    if isinstance(found, Conversion):
        return f"{found.model}{dataset}"
    against = getattr(found, "baseline", "")
    recipe = getattr(found, "recipe", "")
    return (
        f"{found.model}@{found.version}"
        + (f" against {against}" if against else "")
        + (f", recipe {recipe}" if recipe else "")
        + dataset
    )


def _took_s(job: Job) -> float:
    begin = job.start_time or job.create_time
    return (job.end_time - begin).total_seconds() if job.end_time else 0.0


def _now_and_then() -> Callable[[Job], None]:
    said: list[float] = []

    def told(job: Job) -> None:
        now_s = time.monotonic()
        if not said or now_s >= said[-1] + _SAY_S:
            said.append(now_s)
            output.err.print(
                f"{job.state.lower()} {job.progress_percent:.0f} % {job.step}".rstrip(),
                markup=False,
                soft_wrap=True,
            )

    return told
