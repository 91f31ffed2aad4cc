"""One run of a batch: inputs brought together, the model run, outputs taken apart; it blocks."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from servemesh.errors import ServemeshError

Array = np.ndarray[Any, Any]
Answer = list[Array] | Exception


class StoppedError(ServemeshError):
    """The run was stopped because nobody waits for it any more."""

    reason = "RUN_STOPPED"


class Stop:
    """Stops one run from another thread."""

    __slots__ = ("_action", "stopped")

    def __init__(self) -> None:
        self.stopped = False
        self._action: Callable[[], None] | None = None

    def on_stop(self, action: Callable[[], None]) -> None:
        """Have `action` called when the run is to stop; at once if it already is."""
        self._action = action
        if self.stopped:
            action()

    def stop(self) -> None:
        """Stop the run at the next point where the runtime looks."""
        self.stopped = True
        if self._action is not None:
            self._action()


class Runtime(Protocol):
    """Runs a model; thread-safe."""

    def run(self, inputs: Mapping[str, Array], outputs: Sequence[str], stop: Stop) -> list[Array]:
        """Block until the model has run. StoppedError if it was stopped, InvalidError if values were refused."""


class Part(Protocol):
    """One call's share of a batch."""

    @property
    def inputs(self) -> Sequence[Array | None]:
        """Arrays in the order of the signature; None where an optional input is left out."""

    @property
    def outputs(self) -> Sequence[str]:
        """The outputs wanted; equal for all calls of a batch."""

    @property
    def rows(self) -> int:
        """Rows of the batch axis."""

    @property
    def is_gone(self) -> bool:
        """Whether nobody waits for the answer."""


@dataclass(slots=True)
class Outcome:
    """An answer or error for each call, and where the time went."""

    answers: list[Answer] = field(default_factory=list)
    rows_differ: bool = False
    started_ns: int = 0
    input_ns: int = 0
    infer_ns: int = 0
    output_ns: int = 0

    @property
    def duration_s(self) -> float:
        """How long it took in all."""
        return (self.input_ns + self.infer_ns + self.output_ns) / 1e9


def execute(runtime: Runtime, names: Sequence[str], calls: Sequence[Part], stop: Stop) -> Outcome:
    """Run calls together, or one by one if that fails, so that each meets only errors of its own."""
    outcome = Outcome(started_ns=time.perf_counter_ns())
    if len(calls) == 1:
        outcome.answers.append(_alone(runtime, names, calls[0], stop, outcome))
        return outcome
    try:
        outcome.answers += _together(runtime, names, calls, stop, outcome)
    except Exception:  # whose fault it was shows when each runs alone
        outcome.answers += [_alone(runtime, names, call, stop, outcome) for call in calls]
    return outcome


def _together(
    runtime: Runtime, names: Sequence[str], calls: Sequence[Part], stop: Stop, outcome: Outcome
) -> list[Answer]:
    started_ns = time.perf_counter_ns()
    columns = zip(*(call.inputs for call in calls), strict=True)
    inputs = {
        name: np.concatenate(arrays)
        for name, arrays in zip(names, columns, strict=True)
        if arrays[0] is not None
    }
    joined_ns = time.perf_counter_ns()
    outputs = runtime.run(inputs, calls[0].outputs, stop)
    ran_ns = time.perf_counter_ns()
    ends = np.cumsum([call.rows for call in calls]).tolist()
    if any(output.ndim == 0 or output.shape[0] != ends[-1] for output in outputs):
        outcome.rows_differ = True
        raise StoppedError("the model did not give one row back for each row it took")
    answers: list[Answer] = []
    start = 0
    for end in ends:
        answers.append([output[start:end] for output in outputs])
        start = end
    _add_times(outcome, started_ns, joined_ns, ran_ns)
    return answers


def _alone(runtime: Runtime, names: Sequence[str], call: Part, stop: Stop, outcome: Outcome) -> Answer:
    if call.is_gone or stop.stopped:
        return StoppedError("nobody waits for this run any more")
    started_ns = time.perf_counter_ns()
    inputs = {name: array for name, array in zip(names, call.inputs, strict=True) if array is not None}
    try:
        outputs = runtime.run(inputs, call.outputs, stop)
    except Exception as error:  # the caller's fate; the edge decides what it is told
        return error
    _add_times(outcome, started_ns, started_ns, time.perf_counter_ns())
    return outputs


def _add_times(outcome: Outcome, started_ns: int, joined_ns: int, ran_ns: int) -> None:
    outcome.input_ns += joined_ns - started_ns
    outcome.infer_ns += ran_ns - joined_ns
    outcome.output_ns += time.perf_counter_ns() - ran_ns
