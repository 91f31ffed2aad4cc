"""Where the optimizer must stand: each goal with the figure that a run has for it."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

INT8_SIZE_MOST, INT8_LOSS_MOST = 0.30, 0.01
PRUNED_SPEED_LEAST, PRUNED_LOSS_MOST = 1.5, 0.02
STUDENT_SIZE_MOST, STUDENT_KEPT_LEAST = 0.15, 0.97
AS_FAST = 0.97
"""From which share of the other's speed on two models count as equally fast: what two runs of one model differ by."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One line of the table."""

    text: str
    figure: str
    wanted: str
    holds: bool


def seen(results: Mapping[str, Any]) -> Iterator[Seen]:
    """Give the goals that this run has figures for."""
    if "passes/cnn" in results:
        yield from _int8(results["passes/cnn"])
    if "training" in results:
        yield from _pruned(results["training"])
        yield from _students(results["training"])
    if "olive" in results:
        yield from _olive(results["olive"])


def _int8(model: Mapping[str, Any]) -> Iterator[Seen]:
    found = next(each for each in model["variants"] if each["steps"] == "int8_static")
    size, loss = found["size_ratio"], found["metric_loss"]["value"]
    yield _most("Digits CNN, int8 static: size", size, INT8_SIZE_MOST, 3)
    yield _most("Digits CNN, int8 static: accuracy lost", loss, INT8_LOSS_MOST, 4)


def _pruned(found: Mapping[str, Any]) -> Iterator[Seen]:
    runs, teacher = found["pruned"], found["teacher"]["accuracy"]
    for size in ("1", "32"):
        slowest = min(statistics.median(run["speedups"][size]) for run in runs)
        yield _least(
            f"Half of the channels removed: speed at {size}, slowest seed", slowest, PRUNED_SPEED_LEAST, 2
        )
    loss = max(teacher - run["accuracy"] for run in runs)
    yield _most("Half of the channels removed: accuracy lost, worst seed", loss, PRUNED_LOSS_MOST, 4)


def _students(found: Mapping[str, Any]) -> Iterator[Seen]:
    runs, teacher = found["students"], found["teacher"]["accuracy"]
    taught = statistics.mean(run["accuracy"] for run in runs)
    alone = statistics.mean(run["accuracy_alone"] for run in runs)
    better = sum(run["accuracy"] > run["accuracy_alone"] for run in runs)
    size = max(run["size_ratio"] for run in runs)
    yield _most("Student: size", size, STUDENT_SIZE_MOST, 3)
    yield _least(
        "Student: accuracy ÷ the teacher's, mean of the seeds", taught / teacher, STUDENT_KEPT_LEAST, 4
    )
    yield Seen(
        text=f"Student: accuracy, mean of {len(runs)} seeds; better in {better}",
        figure=f"{taught:.4f}",
        wanted=f"> {alone:.4f} on labels alone",
        holds=taught > alone,
    )


def _olive(found: Mapping[str, Any]) -> Iterator[Seen]:
    beside, models = found["beside"]["ratios"], found["beside"]["models"]
    cosine = models["Olive"]["metric"]["value"]
    rivals = {name: ratios for name, ratios in beside.items() if name != "Olive"}
    near = {
        name: ratios for name, ratios in rivals.items() if models[name]["metric"]["value"] >= cosine - 1e-5
    }
    for title, among in (
        ("`auto` ÷ Olive at equal or better cosine", near),
        ("`auto` ÷ Olive within the limit", rivals),
    ):
        best = max(among.values(), key=statistics.geometric_mean, default=None)
        if best is None:
            yield Seen(text=f"MiniLM: speed of {title}", figure="none", wanted=f"≥ {AS_FAST}", holds=False)
            continue
        shown = ", ".join(f"{ratio:.2f}" for ratio in best)
        yield Seen(
            text=f"MiniLM: speed of {title}, 1 and 8 rows",
            figure=shown,
            wanted=f"≥ {AS_FAST} (as fast)",
            holds=statistics.geometric_mean(best) >= AS_FAST,
        )


def _most(text: str, figure: float, most: float, digits: int) -> Seen:
    return Seen(text=text, figure=f"{figure:.{digits}f}", wanted=f"≤ {most:g}", holds=figure <= most)


def _least(text: str, figure: float, least: float, digits: int) -> Seen:
    return Seen(text=text, figure=f"{figure:.{digits}f}", wanted=f"≥ {least:g}", holds=figure >= least)
