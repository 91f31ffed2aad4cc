"""What a program can ask of the optimizer: limits of acceptance, of measuring and of work."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from google.protobuf import struct_pb2

from servemesh.api.optimizer.v1 import optimizer_pb2 as pb
from servemesh.client.jobs import Step

AUTO = "auto"


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """What a variant must keep and reach to be accepted; None asks nothing.

    `metric_loss_max` is in units of the metric (0.01 is one point of accuracy), `size_ratio_max` is size after ÷
    before, `speedup_min` speed after ÷ before at every batch size. The ends of the intervals count.
    """

    metric_loss_max: float | None = 0.01
    size_ratio_max: float | None = None
    speedup_min: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasurementPlan:
    """How models are measured; what is left at 0 or empty is chosen by the optimizer.

    `metric` is accuracy, f1, top_k, mse, cosine, wer or agreement; `output` the output that it reads; `batch_sizes`
    rows per run, at most 8 sizes; `rounds` 5 to 100.
    """

    metric: str = ""
    top_k: int = 0
    output: str = ""
    batch_sizes: tuple[int, ...] = ()
    threads: int = 0
    rounds: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class JobLimits:
    """Bounds of one job, 0 for the optimizer's own: `time_s` of all of it, the others of one child process."""

    time_s: float = 0.0
    memory_bytes: int = 0
    threads: int = 0


Limits = JobLimits | None


def gate(wish: Gate) -> pb.Gate:
    """Return the message for `wish`."""
    return pb.Gate(
        metric_loss_max=wish.metric_loss_max,
        size_ratio_max=wish.size_ratio_max,
        speedup_min=wish.speedup_min,
    )


def measurement(wish: MeasurementPlan | None) -> pb.MeasurementPlan | None:
    """Return the message for `wish`, None if nothing is wished."""
    if wish is None:
        return None
    return pb.MeasurementPlan(
        metric=wish.metric,
        top_k=wish.top_k,
        output=wish.output,
        batch_sizes=wish.batch_sizes,
        threads=wish.threads,
        rounds=wish.rounds,
    )


def limits(wish: Limits) -> pb.JobLimits | None:
    """Return the message for `wish`, None if nothing is wished."""
    if wish is None:
        return None
    message = pb.JobLimits(memory_bytes=wish.memory_bytes, threads=wish.threads)
    if wish.time_s:
        message.time.FromNanoseconds(round(wish.time_s * 1e9))
    return message


def steps(wish: Iterable[Step]) -> list[pb.PassStep]:
    """Return the messages for `wish`."""
    return [pb.PassStep(**{"pass": step.pass_id, "parameters": _struct(step.parameters)}) for step in wish]


def _struct(values: Mapping[str, Any]) -> struct_pb2.Struct:
    message = struct_pb2.Struct()
    message.update(
        {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}
    )
    return message
