"""Writes the figures of `make bench-optimizer` between marks of docs/optimizer.md and docs/conversion.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.optimizer import goals, tables
from bench.page import put

DOCS = Path(__file__).parents[2] / "docs"
PAGE, CONVERSION = DOCS / "optimizer.md", DOCS / "conversion.md"
TITLES = {
    "mlp": "Digits MLP (scikit-learn, two hidden layers)",
    "cnn": "Digits CNN (torch, residual, 380,000 weights)",
    "forest": "Random forest on digits, 200 trees",
    "svm": "SVM on digits, radial kernel",
    "efficientnet": "EfficientNet-lite0 (ImageNet weights)",
    "minilm": "all-MiniLM-L6-v2, float32, 32 tokens",
}


def write(results: Mapping[str, Any]) -> None:
    """Put each section that was measured in its place; the others stay as they were."""
    for name, inside in sections(results).items():
        page = CONVERSION if name == "converting" else PAGE
        put(page, f"<!-- {name}: written by make bench-optimizer -->", f"<!-- end of {name} -->", inside)


def text(results: Mapping[str, Any]) -> str:
    """Return all sections, to be read on a terminal."""
    return "\n\n".join(sections(results).values())


def sections(results: Mapping[str, Any]) -> dict[str, str]:
    """Return the Markdown of each section by its name."""
    found = {"goals": _goals(results)}
    models = {name: results[f"passes/{name}"] for name in TITLES if f"passes/{name}" in results}
    if models:
        found["passes"] = "\n\n".join(_passes(TITLES[name], model) for name, model in models.items())
    if "training" in results:
        found["training"] = tables.training(results["training"])
    if "olive" in results:
        found["olive"] = tables.olive(results["olive"])
    if "converting" in results:
        found["converting"] = tables.converting(results["converting"])
    return found


def _goals(results: Mapping[str, Any]) -> str:
    lines = [
        f"| {goal.text} | {goal.figure} | {goal.wanted} | {'holds' if goal.holds else '**missed**'} |"
        for goal in goals.seen(results)
    ]
    return "\n".join(("| | seen | goal | |", "|---|---|---|---|", *lines))


def _passes(title: str, model: Mapping[str, Any]) -> str:
    metric = next(iter(model["notes"]), "")
    baseline = model["baseline"]
    times = ", ".join(
        f"{speed['run_ms']['value']:.3g} ms at {speed['batch_size']}" for speed in baseline["speeds"]
    )
    lines = [
        f"### {title}",
        "",
        f"{model['day']}, {model['machine']}. {baseline['size_bytes'] / 1e6:.2f} MB, {times}; {metric}: "
        f"{baseline['metric']['value']:.4g}.",
        "",
        "| passes | C | O at 1 | O at 8 | loss | |",
        "|---|---|---|---|---|---|",
        *(_row(variant) for variant in model["variants"]),
        "",
        *_refused(model["refused"]),
    ]
    return "\n".join(lines).rstrip()


def _row(variant: Mapping[str, Any]) -> str:
    speeds = " | ".join(tables.interval(variant["speedups"][size], 2) for size in ("1", "8"))
    verdict = "within" if variant["keeps"] else "**beyond**"
    gains = "" if variant["gains"] else ", no gain"
    loss = tables.interval(variant["metric_loss"], 4)
    return f"| {variant['steps']} | {variant['size_ratio']:.3f} | {speeds} | {loss} | {verdict}{gains} |"


def _refused(refused: Sequence[Mapping[str, Any]]) -> list[str]:
    if not refused:
        return []
    by_word: dict[str, list[str]] = {}
    for each in refused:
        name = each["steps"].partition(" (")[0].partition(" + ")[0]
        names = by_word.setdefault(each["word"], [])
        if name not in names:
            names.append(name)
    told = "; ".join(f"{', '.join(names)}: {word}" for word, names in by_word.items())
    return [f"Do not apply: {told}."]
