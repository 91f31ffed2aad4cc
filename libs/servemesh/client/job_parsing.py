"""Messages of the optimizer as the values that the SDK hands back."""

from __future__ import annotations

import json
from typing import Any

from google.protobuf import json_format

from servemesh import names
from servemesh.api.optimizer.v1 import optimizer_pb2 as pb
from servemesh.client import jobs
from servemesh.client.parsing import enum_name, time


def source(message: pb.Source) -> jobs.Source:
    """Return the Source in `message`."""
    return jobs.Source(
        source=names.source_digest(message.name),
        size_bytes=message.size_bytes,
        paths=tuple(file.path for file in message.files),
    )


def dataset(message: pb.Dataset) -> jobs.Dataset:
    """Return the Dataset in `message`."""
    split = message.split
    return jobs.Dataset(
        dataset=names.dataset_id(message.name),
        source=names.source_digest(message.source),
        format=enum_name(pb.DatasetFormat, message.format, "DATASET_FORMAT_"),
        columns=tuple(
            jobs.Column(
                name=column.name,
                datatype=column.datatype,
                row_shape=tuple(column.row_shape),
                label=column.label,
            )
            for column in message.columns
        ),
        row_count=message.row_count,
        size_bytes=message.size_bytes,
        split=jobs.Split(
            calibrate_percent=split.calibrate_percent,
            train_percent=split.train_percent,
            evaluate_percent=split.evaluate_percent,
            seed=split.seed,
        ),
        create_time=time(message.create_time),
    )


def conversion(message: pb.Conversion) -> jobs.Conversion:
    """Return the Conversion in `message`."""
    return jobs.Conversion(
        name=message.name,
        model=names.model_id(message.model),
        source=names.source_digest(message.source),
        dataset=_dataset_id(message.dataset),
        job=job(message.name, message.job),
        result=_conversion_result(message) if message.HasField("result") else None,
    )


def optimization(message: pb.Optimization) -> jobs.Optimization:
    """Return the Optimization in `message`."""
    model_id, version_id = names.version_ids(message.source_version)
    return jobs.Optimization(
        name=message.name,
        model=model_id,
        version=version_id,
        recipe=message.recipe,
        steps=tuple(step(each) for each in message.steps),
        dataset=_dataset_id(message.dataset),
        alias=message.alias,
        job=job(message.name, message.job),
        result=_measurements(message.result, model_id) if message.HasField("result") else None,
    )


def evaluation(message: pb.Evaluation) -> jobs.Evaluation:
    """Return the Evaluation in `message`."""
    model_id, version_id = names.version_ids(message.version)
    return jobs.Evaluation(
        name=message.name,
        model=model_id,
        version=version_id,
        baseline=_target(message.baseline_version),
        dataset=_dataset_id(message.dataset),
        job=job(message.name, message.job),
        result=_measurements(message.result, model_id) if message.HasField("result") else None,
    )


def job(name: str, message: pb.Job) -> jobs.Job:
    """Return how the job of that name stands."""
    error = message.error
    return jobs.Job(
        name=name,
        state=enum_name(pb.Job.State, message.state, "STATE_"),
        progress_percent=message.progress_percent,
        step=message.step,
        error=jobs.JobError(reason=error.reason, message=error.message, field=error.field)
        if message.HasField("error")
        else None,
        epoch=message.epoch,
        create_time=time(message.create_time),
        start_time=time(message.start_time) if message.HasField("start_time") else None,
        end_time=time(message.end_time) if message.HasField("end_time") else None,
    )


def log_line(message: pb.JobLogLine) -> jobs.LogLine:
    """Return the line in `message`."""
    return jobs.LogLine(time=time(message.log_time), epoch=message.epoch, text=message.text)


def pass_(message: pb.PassInfo) -> jobs.Pass:
    """Return the pass in `message`."""
    return jobs.Pass(
        pass_id=message.pass_id,
        description=message.description,
        origin=message.origin,
        parameters=tuple(
            jobs.Parameter(
                name=item.parameter_id,
                description=item.description,
                type=item.type,
                default=json.loads(item.default_json) if item.default_json else None,
            )
            for item in message.parameters
        ),
        calibrates=message.calibrates,
        trains=message.trains,
    )


def recipe(message: pb.Recipe) -> jobs.Recipe:
    """Return the recipe in `message`."""
    return jobs.Recipe(
        recipe=message.recipe_id,
        description=message.description,
        steps=tuple(step(each) for each in message.steps),
    )


def step(message: pb.PassStep) -> jobs.Step:
    """Return the step in `message`; numbers without a fraction as int."""
    parameters = _whole(json_format.MessageToDict(message.parameters))
    return jobs.Step(**{"pass_id": getattr(message, "pass"), "parameters": parameters})


def _measurements(message: pb.OptimizationResult, model_id: str) -> jobs.Measurements:
    hardware = message.hardware
    return jobs.Measurements(
        baseline=_variant(message.baseline, model_id) if message.HasField("baseline") else None,
        variants=tuple(_variant(each, model_id) for each in message.variants),
        hardware=jobs.Hardware(
            processor=hardware.processor,
            processor_count=hardware.processor_count,
            memory_bytes=hardware.memory_bytes,
            accelerators=tuple(hardware.accelerators),
            provider=hardware.provider,
        ),
        libraries=dict(message.libraries),
    )


def _variant(message: pb.VariantReport, model_id: str) -> jobs.Variant:
    model, version = names.version_ids(message.version) if message.version else (model_id, None)
    return jobs.Variant(
        model=model,
        version=version,
        steps=tuple(step(each) for each in message.steps),
        sha256=message.sha256,
        accepted=message.accepted,
        refusals=tuple(message.refusals),
        pareto=message.pareto,
        size_bytes=message.size_bytes,
        size_ratio=message.size_ratio,
        sparsity=message.sparsity,
        metric=_interval(message, "metric"),
        metric_loss=_interval(message, "metric_loss"),
        metric_loss_chance=message.metric_loss_chance if message.HasField("metric_loss_chance") else None,
        speeds=tuple(
            jobs.Speed(
                batch_size=speed.batch_size, run_ms=_figure(speed.run_ms), speedup=_figure(speed.speedup)
            )
            for speed in message.speeds
        ),
        cold_load_s=_interval(message, "cold_load_s"),
        memory_bytes=message.memory_bytes,
    )


def _conversion_result(message: pb.Conversion) -> jobs.ConversionResult:
    result, parity = message.result, message.result.parity
    model, version = (
        names.version_ids(result.version) if result.version else (names.model_id(message.model), None)
    )
    return jobs.ConversionResult(
        model=model,
        version=version,
        format=enum_name(pb.SourceFormat, result.format, "SOURCE_FORMAT_"),
        parity=jobs.Parity(
            row_count=parity.row_count,
            generated=parity.generated,
            max_abs=parity.max_abs,
            max_rel=parity.max_rel,
            argmax_agreement=parity.argmax_agreement if parity.HasField("argmax_agreement") else None,
        ),
        warnings=tuple(result.warnings),
        libraries=dict(result.libraries),
    )


def _interval(message: Any, field: str) -> jobs.Interval | None:
    return _figure(getattr(message, field)) if message.HasField(field) else None


def _figure(message: pb.Interval) -> jobs.Interval:
    return jobs.Interval(value=message.value, low=message.low, high=message.high)


def _whole(value: Any) -> Any:
    """Return JSON with 8 for the 8.0 that a protobuf Struct makes of it."""
    if isinstance(value, dict):
        return {key: _whole(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_whole(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _dataset_id(name: str) -> str:
    return names.dataset_id(name) if name else ""


def _target(name: str) -> str:
    if not name:
        return ""
    model_id, version_id = names.version_ids(name)
    return f"{model_id}@{version_id}"
