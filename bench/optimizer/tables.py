"""Tables of figures in Markdown: training over seeds, `auto` against Olive, conversions."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any


def interval(found: Mapping[str, float], digits: int) -> str:
    """Return a figure with its interval."""
    value, low, high = (f"{found[name]:.{digits}f}" for name in ("value", "low", "high"))
    return value if value == low == high else f"{value} ({low}..{high})"


def training(found: Mapping[str, Any]) -> str:
    """Return what pruning and distilling did, seed by seed."""
    lines = [
        f"{found['day']}, {found['machine']}. The teacher: {found['teacher']['size_bytes'] / 1e6:.2f} MB, accuracy "
        f"{found['teacher']['accuracy']:.4f}.",
        "",
        "| seed | pruned: accuracy | speed at 1 | speed at 32 | student: accuracy | the same on labels alone |",
        "|---|---|---|---|---|---|",
    ]
    for pruned, student in zip(found["pruned"], found["students"], strict=True):
        speeds = " | ".join(f"{statistics.median(pruned['speedups'][size]):.2f}" for size in ("1", "32"))
        lines.append(
            f"| {pruned['seed']} | {pruned['accuracy']:.4f} | {speeds} | {student['accuracy']:.4f} "
            f"| {student['accuracy_alone']:.4f} |"
        )
    means = [
        statistics.mean(run[name] for run in runs)
        for runs, name in (
            (found["pruned"], "accuracy"),
            (found["students"], "accuracy"),
            (found["students"], "accuracy_alone"),
        )
    ]
    lines.append(f"| mean | {means[0]:.4f} | | | {means[1]:.4f} | {means[2]:.4f} |")
    return "\n".join(lines)


def olive(found: Mapping[str, Any]) -> str:
    """Return both results side by side, and what each search tried."""
    lines = [
        f"{found['day']}, {found['machine']}; {found['versions']}. Both searched for {found['budget_s']:.0f} s; then "
        "what Olive chose and all that `auto` registered were measured in turns in one run.",
        "",
        "| | passes | C | O at 1 | O at 8 | cosine |",
        "|---|---|---|---|---|---|",
    ]
    beside = found["beside"]
    accepted = [each["steps"] for each in found["auto"]["variants"] if each["accepted"]]
    for name, report in beside["models"].items():
        place = int(name.partition(" ")[2] or 0)
        passes = accepted[place - 1] if place else "chosen by its search"
        baseline_bytes = beside["baseline"]["size_bytes"]
        speeds = " | ".join(interval(speed["speedup"], 2) for speed in report["speeds"])
        lines.append(
            f"| {name} | {passes} | {report['size_bytes'] / baseline_bytes:.3f} | {speeds} "
            f"| {interval(report['metric'], 5)} |"
        )
    tried = found["olive"]["tried"]
    lines += [
        "",
        f"Olive tried {len(tried)} models in {found['olive']['seconds']:.0f} s: speed (cosine) "
        + ", ".join(f"{each['speedup']:.2f} ({each['cosine']:.3f})" for each in tried)
        + ".",
        "",
        f"`auto` tried {len(found['auto']['variants'])} in {found['auto']['seconds']:.0f} s:",
        "",
        *_tried(found["auto"]["variants"]),
    ]
    return "\n".join(lines)


def _tried(variants: Sequence[Mapping[str, Any]]) -> list[str]:
    lines = ["| passes | C | O at 1 | O at 8 | loss of cosine | |", "|---|---|---|---|---|---|"]
    for each in variants:
        figures = each["figures"]
        speeds = " | ".join(f"{speed['speedup']['value']:.2f}" for speed in figures["speeds"])
        why = "registered" if each["accepted"] else each["refusals"][0].partition(":")[0]
        loss = f"{figures['metric_loss']['value']:.5f}"
        lines.append(f"| {each['steps']} | {figures['size_ratio']:.3f} | {speeds} | {loss} | {why} |")
    return lines


def converting(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return how near each conversion came to its source."""
    lines = ["| program | max abs | max rel | arg-max | MB | seconds |", "|---|---|---|---|---|---|"]
    for row in rows:
        if "reason" in row:
            lines.append(f"| {row['program']} | {row['reason']} | | | | |")
            continue
        agreement = "" if row["argmax_agreement"] is None else f"{row['argmax_agreement']:.1%}"
        lines.append(
            f"| {row['program']} | {row['max_abs']:.1e} | {row['max_rel']:.1e} | {agreement} "
            f"| {row['size_bytes'] / 1e6:.2f} | {row['seconds']:.1f} |"
        )
    return "\n".join(lines)
