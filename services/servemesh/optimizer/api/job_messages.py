"""Jobs as messages of the optimizer's API."""

from __future__ import annotations

from datetime import datetime

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from servemesh.api.optimizer.v1 import optimizer_pb2 as pb
from servemesh.optimizer.api.result_messages import FORMAT_NUMBERS, to_conversion_result, to_result, to_steps
from servemesh.optimizer.domain.jobs import Job, State
from servemesh.optimizer.domain.records import JobRecord, LogLine
from servemesh.optimizer.domain.results import ConversionResult, OptimizationResult
from servemesh.optimizer.domain.specs import (
    ConversionSpec,
    EvaluationSpec,
    Gate,
    JobLimits,
    MeasurementPlan,
    OptimizationSpec,
)

_STATES = {state: pb.Job.State.Value(f"STATE_{state.name}") for state in State}


def to_time(moment: datetime) -> Timestamp:
    """The message for a moment."""
    timestamp = Timestamp()
    timestamp.FromDatetime(moment)
    return timestamp


def to_job(job: Job) -> pb.Job:
    """How a job stands."""
    message = pb.Job(
        state=_STATES[job.state],
        progress_percent=job.progress_percent,
        step=job.step,
        epoch=0 if job.state is State.QUEUED else job.epoch,
        create_time=to_time(job.create_time),
        start_time=to_time(job.start_time) if job.start_time is not None else None,
        end_time=to_time(job.end_time) if job.end_time is not None else None,
    )
    if job.error is not None:
        error = job.error
        message.error.CopyFrom(pb.JobError(reason=error.reason, message=error.message, field=error.field))
    return message


def to_conversion(record: JobRecord) -> pb.Conversion:
    """The message for a Conversion; its result is shown once it is registered."""
    spec, result = record.spec, record.result
    assert isinstance(spec, ConversionSpec)
    message = pb.Conversion(
        name=record.name,
        source=spec.source,
        model=spec.model,
        format=FORMAT_NUMBERS[spec.format],
        dataset=spec.dataset,
        tolerance=spec.tolerance,
        opset=spec.opset,
        limits=_to_limits(spec.limits),
        job=to_job(record.job),
    )
    if isinstance(result, ConversionResult) and record.job.state is State.SUCCEEDED:
        message.result.CopyFrom(to_conversion_result(result))
    return message


def to_optimization(record: JobRecord) -> pb.Optimization:
    """The message for an Optimization."""
    spec, result = record.spec, record.result
    assert isinstance(spec, OptimizationSpec)
    message = pb.Optimization(
        name=record.name,
        source_version=spec.source_version,
        teacher_version=spec.teacher_version,
        recipe=spec.recipe,
        steps=to_steps(spec.steps),
        dataset=spec.dataset,
        gate=_to_gate(spec.gate),
        measurement=_to_plan(spec.measurement),
        alias=spec.alias,
        limits=_to_limits(spec.limits),
        job=to_job(record.job),
    )
    if isinstance(result, OptimizationResult):
        message.result.CopyFrom(to_result(result))
    return message


def to_evaluation(record: JobRecord) -> pb.Evaluation:
    """The message for an Evaluation."""
    spec, result = record.spec, record.result
    assert isinstance(spec, EvaluationSpec)
    message = pb.Evaluation(
        name=record.name,
        version=spec.version,
        baseline_version=spec.baseline_version,
        dataset=spec.dataset,
        measurement=_to_plan(spec.measurement),
        limits=_to_limits(spec.limits),
        job=to_job(record.job),
    )
    if isinstance(result, OptimizationResult):
        message.result.CopyFrom(to_result(result))
    return message


def to_log_line(line: LogLine) -> pb.JobLogLine:
    """The message for a line of a log."""
    return pb.JobLogLine(log_time=to_time(line.log_time), epoch=line.epoch, text=line.text)


def _to_limits(limits: JobLimits) -> pb.JobLimits:
    time = Duration()
    time.FromNanoseconds(round(limits.time_s * 1e9))
    return pb.JobLimits(time=time, memory_bytes=limits.memory_bytes, threads=limits.threads)


def _to_gate(gate: Gate) -> pb.Gate:
    return pb.Gate(
        metric_loss_max=gate.metric_loss_max,
        size_ratio_max=gate.size_ratio_max,
        speedup_min=gate.speedup_min,
    )


def _to_plan(plan: MeasurementPlan) -> pb.MeasurementPlan:
    return pb.MeasurementPlan(
        metric=plan.metric,
        top_k=plan.top_k,
        output=plan.output,
        batch_sizes=plan.batch_sizes,
        threads=plan.threads,
        rounds=plan.rounds,
    )
