"""Operations on datasets, conversions, optimizations and evaluations."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from servemesh import names
from servemesh.api.optimizer.v1 import optimizer_pb2 as pb
from servemesh.client import asking, job_parsing, jobs, models, sources
from servemesh.client.asking import AUTO, Gate, Limits, MeasurementPlan
from servemesh.client.models import PAGE_SIZE, pages
from servemesh.client.steps import Call, Operation
from servemesh.client.transfers import Progress
from servemesh.errors import InvalidError, MissingError


def create_dataset(
    dataset_id: str, path: Path, labels: Sequence[str], split: jobs.Split | None, on_progress: Progress
) -> Operation[jobs.Dataset]:
    """Upload rows and have them read as a Dataset."""
    names.dataset(dataset_id)  # refused before anything is sent
    source = yield from sources.upload_source(path, on_progress)
    wish = pb.Dataset(source=names.source(source.source), label_columns=labels, split=_split(split))
    request = pb.CreateDatasetRequest(dataset_id=dataset_id, dataset=wish, request_id=_request_id())
    return job_parsing.dataset((yield Call(request=request)).dataset)


def dataset(dataset_id: str) -> Operation[jobs.Dataset]:
    """Return one Dataset."""
    answer = yield Call(request=pb.GetDatasetRequest(name=names.dataset(dataset_id)))
    return job_parsing.dataset(answer.dataset)


def datasets() -> Operation[list[jobs.Dataset]]:
    """Return every Dataset, by name."""
    return (
        yield from pages(lambda: pb.ListDatasetsRequest(page_size=PAGE_SIZE), "datasets", job_parsing.dataset)
    )


def remove_dataset(dataset_id: str) -> Operation[None]:
    """Delete a Dataset."""
    yield Call(request=pb.DeleteDatasetRequest(name=names.dataset(dataset_id)))


def convert(
    model_id: str,
    path: Path,
    format_: str,
    dataset_id: str,
    tolerance: float,
    opset: int,
    limits: Limits,
    on_progress: Progress,
) -> Operation[jobs.Conversion]:
    """Upload a program and ask that it be converted and registered."""
    wish = pb.Conversion(
        model=names.model(model_id),
        format=_format(format_),
        dataset=_dataset(dataset_id),
        tolerance=tolerance,
        opset=opset,
        limits=asking.limits(limits),
    )
    source = yield from sources.upload_source(path, on_progress)
    wish.source = names.source(source.source)
    request = pb.CreateConversionRequest(conversion=wish, request_id=_request_id())
    return job_parsing.conversion((yield Call(request=request)).conversion)


def optimize(
    model_id: str,
    version: str | int,
    recipe: str,
    steps: Sequence[jobs.Step],
    dataset_id: str,
    gate: Gate | None,
    measurement: MeasurementPlan | None,
    alias: str,
    teacher: str,
    limits: Limits,
) -> Operation[jobs.Optimization]:
    """Ask for smaller or faster variants of a Version; `teacher` is a version of the model, or MODEL@VERSION."""
    wish = pb.Optimization(
        recipe="" if steps else recipe or AUTO,
        steps=asking.steps(steps),
        dataset=_dataset(dataset_id),
        gate=asking.gate(gate) if gate else None,
        measurement=asking.measurement(measurement),
        alias=alias,
        limits=asking.limits(limits),
    )
    wish.source_version = yield from _target(model_id, version)
    if teacher:
        wish.teacher_version = yield from _other_target(model_id, teacher)
    request = pb.CreateOptimizationRequest(optimization=wish, request_id=_request_id())
    return job_parsing.optimization((yield Call(request=request)).optimization)


def evaluate(
    model_id: str,
    version: str | int,
    against: str | int,
    dataset_id: str,
    measurement: MeasurementPlan | None,
    limits: Limits,
) -> Operation[jobs.Evaluation]:
    """Ask that a Version be measured; `against` is a Version of the same model, or MODEL@VERSION."""
    wish = pb.Evaluation(
        dataset=_dataset(dataset_id),
        measurement=asking.measurement(measurement),
        limits=asking.limits(limits),
    )
    wish.version = yield from _target(model_id, version)
    if against:
        wish.baseline_version = yield from _other_target(model_id, str(against))
    request = pb.CreateEvaluationRequest(evaluation=wish, request_id=_request_id())
    return job_parsing.evaluation((yield Call(request=request)).evaluation)


def passes() -> Operation[list[jobs.Pass]]:
    """Return every pass, by id."""
    return [job_parsing.pass_(each) for each in (yield Call(request=pb.ListPassesRequest())).passes]


def recipes() -> Operation[list[jobs.Recipe]]:
    """Return every recipe, by id."""
    return [job_parsing.recipe(each) for each in (yield Call(request=pb.ListRecipesRequest())).recipes]


def _other_target(model_id: str, text: str) -> Operation[str]:
    """Return the name of what `text` says: a version or an alias of the model, or MODEL@VERSION."""
    other, at, target = text.rpartition("@")
    return (yield from _target(other if at else model_id, target))


def _target(model_id: str, version: str | int) -> Operation[str]:
    """Return the name of a Version or an Alias; of the newest Version if none is given."""
    if version:
        return models.target_name(model_id, version)
    newest = (yield from models.model(model_id)).latest_version
    if not newest:
        raise MissingError(f"{model_id} has no versions yet", reason="VERSION_MISSING", model=model_id)
    return names.version(model_id, newest)


def _split(split: jobs.Split | None) -> pb.DatasetSplit | None:
    if split is None:
        return None
    return pb.DatasetSplit(
        calibrate_percent=split.calibrate_percent,
        train_percent=split.train_percent,
        evaluate_percent=split.evaluate_percent,
        seed=split.seed,
    )


def _dataset(dataset_id: str) -> str:
    return names.dataset(dataset_id) if dataset_id else ""


def _format(text: str) -> Any:
    known = {name.removeprefix("SOURCE_FORMAT_").lower(): value for name, value in pb.SourceFormat.items()}
    if not text:
        return known["unspecified"]
    if text not in known:
        expected = ", ".join(sorted(set(known) - {"unspecified"}))
        raise InvalidError(
            f"format is {text[:100]!r}, expected one of {expected}",
            reason="FORMAT_UNKNOWN",
            field="format",
            expected=expected,
            got=text[:100],
        )
    return known[text]


def _request_id() -> str:
    return str(uuid.uuid4())
