"""Where the mesh must stand: each goal with the figure that a run has for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bench.load import Load
from bench.plan import IMAGE, MESH, MLP, MLSERVER, NGINX, RAW, SHORT, TRITON, WORKER
from bench.results import Run, Spread, p50, processor_us, rate


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """One line of the table. `figure` is None for a run that did not measure it."""

    text: str
    figure: Callable[[Run], Spread | None]
    at_least: float | None = None
    at_most: float | None = None
    digits: int = 2

    @property
    def wanted(self) -> str:
        """The bound as text."""
        return f"≥ {self.at_least:g}" if self.at_least is not None else f"≤ {self.at_most:g}"

    def holds(self, seen: Spread) -> bool:
        """Whether the median is where it must be."""
        if self.at_least is not None:
            return seen.median >= self.at_least
        assert self.at_most is not None
        return seen.median <= self.at_most


def _rates(
    request: str, in_flight: int, first: str, second: str, *, streams: bool = False
) -> Callable[[Run], Spread | None]:
    load = str(Load(in_flight=in_flight, streams=streams))
    return lambda run: run.ratio(request, load, (first, second), rate)


def _spent(process: str, target: str, in_flight: int) -> Callable[[Run], Spread | None]:
    load = str(Load(in_flight=in_flight))
    return lambda run: run.spread(MLP, load, target, processor_us(process))


def _added_p50(run: Run) -> Spread | None:
    return run.paired(
        MLP, str(Load(in_flight=1)), (MESH, WORKER), lambda mesh, worker: p50(mesh) - p50(worker)
    )


def _goal_of_pair(text: str, at_least: float, request: str, in_flight: int, first: str, second: str) -> Goal:
    text = f"{text}, {in_flight} in flight"
    return Goal(text=text, at_least=at_least, figure=_rates(request, in_flight, first, second))


GOALS = (
    _goal_of_pair("MiniLM: worker ÷ raw onnxruntime at its best batch", 0.97, SHORT, 16, WORKER, RAW),
    _goal_of_pair("MiniLM: mesh ÷ raw onnxruntime at its best batch", 0.95, SHORT, 16, MESH, RAW),
    _goal_of_pair("MiniLM: mesh ÷ Triton directly", 1.0, SHORT, 16, MESH, TRITON),
    _goal_of_pair("tiny MLP: worker ÷ Triton", 1.3, MLP, 16, WORKER, TRITON),
    _goal_of_pair("tiny MLP: worker ÷ Triton", 1.6, MLP, 64, WORKER, TRITON),
    _goal_of_pair("tiny MLP: mesh ÷ Triton directly", 0.9, MLP, 16, MESH, TRITON),
    _goal_of_pair("tiny MLP: mesh ÷ Triton directly", 1.1, MLP, 64, MESH, TRITON),
    _goal_of_pair("tiny MLP: worker ÷ MLServer", 5, MLP, 16, WORKER, MLSERVER),
    _goal_of_pair("tiny MLP: worker ÷ MLServer", 5, MLP, 64, WORKER, MLSERVER),
    Goal(
        text="tiny MLP: worker's p50 ÷ Triton's p50, one in flight",
        at_most=1.0,
        figure=lambda run: run.ratio(MLP, str(Load(in_flight=1)), (WORKER, TRITON), p50),
    ),
    Goal(
        text="Envoy's processor time for a call, 16 in flight, µs",
        at_most=110,
        figure=_spent("Envoy", MESH, 16),
        digits=0,
    ),
    Goal(text="Envoy's added p50, one in flight, ms", at_most=0.4, figure=_added_p50),
    Goal(
        text="worker's processor time for a tiny call, 64 in flight, µs",
        at_most=90,
        figure=_spent("worker", WORKER, 64),
        digits=0,
    ),
    Goal(
        text="ModelStreamInfer, tiny MLP: mesh ÷ Triton's streams, 16 in flight",
        at_least=0.7,
        figure=_rates(MLP, 16, MESH, TRITON, streams=True),
    ),
    _goal_of_pair("600 KB image: mesh ÷ nginx before the same worker", 0.95, IMAGE, 16, MESH, NGINX),
    Goal(
        text="`deploy` to READY of 200 MB, cold ÷ (S3 read + session creation)",
        at_most=1.3,
        figure=lambda run: Spread.of(one.ratio for one in run.cold_starts),
    ),
)
