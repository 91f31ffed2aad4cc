"""Draws a run: calls per second over calls in flight, a panel for each model and a line for each server."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.load import Load
from bench.plan import IMAGE, LONG, MESH, MLP, MLSERVER, NGINX, RAW, SHORT, TRITON, VAD, WORKER
from bench.results import Run, rate

PANELS = (MLP, VAD, SHORT, LONG, IMAGE)
IN_FLIGHT = (1, 4, 16, 64)
COLOURS = {
    MESH: "#0b6e4f",
    WORKER: "#6bbf59",
    TRITON: "#3066be",
    MLSERVER: "#e07a1f",
    NGINX: "#8d5a97",
    RAW: "#555555",
}


def draw(run: Run, path: Path) -> None:
    """Write the picture as SVG, the same bytes for the same run."""
    mpl.rcParams["svg.hashsalt"] = "servemesh"
    figure = Figure(figsize=(11, 6), layout="constrained")
    axes = list(figure.subplots(2, 3).flat)
    for panel, request in zip(axes, PANELS, strict=False):
        _panel(panel, run, request)
    _legend(axes[-1])
    figure.suptitle(f"Calls per second, higher is better · {run.machine} · {run.day}", fontsize=10)
    figure.savefig(path, format="svg", metadata={"Date": None})


def _panel(axes: Axes, run: Run, request: str) -> None:
    for target, colour in COLOURS.items():
        seen = [
            (in_flight, run.spread(request, str(Load(in_flight=in_flight)), target, rate))
            for in_flight in IN_FLIGHT
        ]
        points = [(in_flight, spread) for in_flight, spread in seen if spread is not None]
        if not points:
            continue
        medians = [spread.median for _, spread in points]
        if target == RAW:
            if medians[0] < 2 * axes.get_ylim()[1]:  # of a tiny model it would press all else to the ground
                axes.axhline(medians[0], color=colour, linestyle=":")
            continue
        below = [spread.median - spread.lowest for _, spread in points]
        above = [spread.highest - spread.median for _, spread in points]
        xs = [in_flight for in_flight, _ in points]
        axes.errorbar(xs, medians, yerr=(below, above), color=colour, marker="o", markersize=4, capsize=3)
    axes.set_title(request, fontsize=10)
    axes.set_xscale("log", base=4)
    axes.set_xticks(IN_FLIGHT, [str(number) for number in IN_FLIGHT])
    axes.set_xlabel("calls in flight", fontsize=8)
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.25)


def _legend(axes: Axes) -> None:
    axes.axis("off")
    for target, colour in COLOURS.items():
        style = ":" if target == RAW else "-"
        label = "onnxruntime alone, best batch" if target == RAW else target
        axes.plot([], [], color=colour, linestyle=style, marker="" if target == RAW else "o", label=label)
    axes.legend(loc="center", frameon=False)
