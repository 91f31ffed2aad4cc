"""Jobs, Datasets and Sources of the optimizer for tests, with sensible values for what a test does not care about."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import UTC, datetime

from servemesh.optimizer.domain.asking import Bounds
from servemesh.optimizer.domain.datasets import Column
from servemesh.optimizer.domain.jobs import Job, Kind
from servemesh.optimizer.domain.records import Dataset, JobRecord, KeptPass, Source, StoredFile, blob_key
from servemesh.optimizer.domain.results import (
    ConversionResult,
    OptimizationResult,
    ParityReport,
    VariantReport,
)
from servemesh.optimizer.domain.specs import ConversionSpec, EvaluationSpec, JobLimits, OptimizationSpec
from servemesh.optimizer.domain.splits import Shares

START = datetime(2026, 1, 1, tzinfo=UTC)
LIMITS = JobLimits(time_s=3_600.0, memory_bytes=1024**3, threads=1)
BOUNDS = Bounds(job=LIMITS)
EVALUATION = EvaluationSpec(version="models/digits/versions/1", limits=LIMITS)
OPTIMIZATION = OptimizationSpec(source_version="models/digits/versions/1", recipe="int8", limits=LIMITS)
CONVERTED = ConversionResult(
    version="models/digits/versions/2",
    files={"model.onnx": "ab" * 32},
    format="sklearn",
    parity=ParityReport(row_count=64, generated=True, max_abs=1e-6, max_rel=1e-6, argmax_agreement=1.0),
    warnings=("it is a test",),
    libraries={"onnx": "1.23.0"},
)
FOUND = OptimizationResult(variants=(VariantReport(sha256="cd" * 32, accepted=True, size_bytes=10),))


def digest(text: str) -> str:
    """A sha256 that differs from that of other texts."""
    return hashlib.sha256(text.encode()).hexdigest()


def a_conversion(**changes: object) -> ConversionSpec:
    """What a conversion asks for."""
    spec = ConversionSpec(source=f"sources/{digest('source')}", model="models/digits", limits=LIMITS)
    return replace(spec, **changes)  # type: ignore[arg-type]


def a_job(job_id: str = "j1", **changes: object) -> Job:
    """A queued evaluation."""
    job = Job(kind=Kind.EVALUATION, job_id=job_id, due_time=START, create_time=START)
    return replace(job, **changes)  # type: ignore[arg-type]


def a_record(job_id: str = "j1", **changes: object) -> JobRecord:
    """A queued evaluation with what it asks for."""
    return JobRecord(job=a_job(job_id, **changes), spec=EVALUATION)


def a_source(text: str = "source", **changes: object) -> Source:
    """A Source of one file."""
    file = StoredFile(path="model.skops", size_bytes=3, sha256=digest(text), key=blob_key(f"s-{text}", 0))
    source = Source(digest=digest(text), owner=f"s-{text}", files=(file,), use_time=START)
    return replace(source, **changes)  # type: ignore[arg-type]


def a_dataset(dataset_id: str = "digits", **changes: object) -> Dataset:
    """A Dataset of one column of inputs and one of labels."""
    dataset = Dataset(
        dataset_id=dataset_id,
        source=f"sources/{digest('source')}",
        label_columns=("label",),
        shares=Shares(),
        format="npz",
        columns=(
            Column(name="image", datatype="FP32", row_shape=(64,), label=False),
            Column(name="label", datatype="INT64", row_shape=(), label=True),
        ),
        row_count=100,
        size_bytes=26_400,
        owner=f"d-{dataset_id}",
        files=(),
        create_time=START,
    )
    return replace(dataset, **changes)  # type: ignore[arg-type]


def a_kept_pass(key: str = "k1", **changes: object) -> KeptPass:
    """The output of a step."""
    kept = KeptPass(
        cache_key=key,
        sha256=digest(key),
        size_bytes=10,
        owner=f"p-{key}",
        files=(),
        answer={"notes": ["made"]},
        use_time=START,
    )
    return replace(kept, **changes)  # type: ignore[arg-type]
