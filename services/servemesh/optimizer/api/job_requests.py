"""What is asked for, from messages: values that are checked by `service.orders` afterwards."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from google.protobuf.struct_pb2 import Struct, Value

from servemesh.api.optimizer.v1 import optimizer_pb2 as pb
from servemesh.errors import InvalidError
from servemesh.optimizer.domain.results import PassStep
from servemesh.optimizer.domain.sources import SourceFormat
from servemesh.optimizer.domain.specs import (
    ConversionSpec,
    EvaluationSpec,
    Gate,
    JobLimits,
    MeasurementPlan,
    OptimizationSpec,
)

METRIC_LOSS_DEFAULT = 0.01
FORMATS = {
    pb.SOURCE_FORMAT_UNSPECIFIED: "",
    **{pb.SourceFormat.Value(f"SOURCE_FORMAT_{known.name}"): known.value for known in SourceFormat},
}


def from_conversion(message: pb.Conversion) -> ConversionSpec:
    """What a Conversion asks for."""
    if message.format not in FORMATS:
        raise InvalidError(
            f"conversion.format is {message.format}, expected one of the formats of optimizer.v1",
            reason="SOURCE_FORMAT_UNKNOWN",
            field="conversion.format",
            got=message.format,
        )
    return ConversionSpec(
        source=message.source,
        model=message.model,
        format=FORMATS[message.format],
        dataset=message.dataset,
        tolerance=message.tolerance,
        opset=message.opset,
        limits=_limits(message.limits),
    )


def from_optimization(message: pb.Optimization) -> OptimizationSpec:
    """What an Optimization asks for."""
    return OptimizationSpec(
        source_version=message.source_version,
        teacher_version=message.teacher_version,
        recipe=message.recipe,
        steps=from_steps(message.steps),
        dataset=message.dataset,
        gate=_gate(message),
        measurement=_plan(message.measurement),
        alias=message.alias,
        limits=_limits(message.limits),
    )


def from_evaluation(message: pb.Evaluation) -> EvaluationSpec:
    """What an Evaluation asks for."""
    return EvaluationSpec(
        version=message.version,
        baseline_version=message.baseline_version,
        dataset=message.dataset,
        measurement=_plan(message.measurement),
        limits=_limits(message.limits),
    )


def from_steps(steps: Iterable[pb.PassStep]) -> tuple[PassStep, ...]:
    """Steps with plain values; a number without a fraction is a whole one, because a Struct knows only floats."""
    return tuple(
        PassStep(pass_id=getattr(step, "pass"), parameters=_plain_struct(step.parameters)) for step in steps
    )


def _limits(message: pb.JobLimits) -> JobLimits:
    return JobLimits(
        time_s=message.time.seconds + message.time.nanos / 1e9,
        memory_bytes=message.memory_bytes,
        threads=message.threads,
    )


def _gate(message: pb.Optimization) -> Gate:
    if not message.HasField("gate"):
        return Gate(metric_loss_max=METRIC_LOSS_DEFAULT)
    gate = message.gate
    return Gate(
        metric_loss_max=gate.metric_loss_max if gate.HasField("metric_loss_max") else None,
        size_ratio_max=gate.size_ratio_max if gate.HasField("size_ratio_max") else None,
        speedup_min=gate.speedup_min if gate.HasField("speedup_min") else None,
    )


def _plan(message: pb.MeasurementPlan) -> MeasurementPlan:
    return MeasurementPlan(
        metric=message.metric,
        top_k=message.top_k,
        output=message.output,
        batch_sizes=tuple(message.batch_sizes),
        threads=message.threads,
        rounds=message.rounds,
    )


def _plain_struct(struct: Struct) -> dict[str, Any]:
    return {name: _plain(value) for name, value in struct.fields.items()}


def _plain(value: Value) -> Any:
    match value.WhichOneof("kind"):
        case "number_value":
            number = value.number_value
            return int(number) if number.is_integer() and abs(number) < 2**53 else number
        case "string_value":
            return value.string_value
        case "bool_value":
            return value.bool_value
        case "list_value":
            return [_plain(item) for item in value.list_value.values]
        case "struct_value":
            return _plain_struct(value.struct_value)
    return None
