"""Jobs of the optimizer as the SDK hands them back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from servemesh.client import Interval, Job, Measurements, Optimization, Speed, Step, Variant
from servemesh.client.jobs import Hardware

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def a_speed(speedup: float) -> Speed:
    """Return a measurement of so many times the baseline's speed."""
    figure = Interval(value=speedup, low=speedup - 0.1, high=speedup + 0.1)
    return Speed(batch_size=8, run_ms=figure, speedup=figure)


def a_job(**changes: Any) -> Job:
    """Return a job that has succeeded."""
    given = {
        "name": "optimizations/j1",
        "state": "SUCCEEDED",
        "progress_percent": 100.0,
        "step": "",
        "error": None,
        "epoch": 1,
        "create_time": NOW,
        "start_time": NOW,
        "end_time": NOW + timedelta(seconds=42),
    }
    return Job(**{**given, **changes})


def a_variant(**changes: Any) -> Variant:
    """Return a variant that was accepted."""
    given = {
        "model": "digits",
        "version": 2,
        "steps": (Step(pass_id="int8_static", parameters={"calibration": "entropy", "rows_max": 256}),),
        "sha256": "ab",
        "accepted": True,
        "refusals": (),
        "pareto": True,
        "size_bytes": 24_000,
        "size_ratio": 0.28,
        "sparsity": 0.0,
        "metric": Interval(value=0.964, low=0.95, high=0.98),
        "metric_loss": Interval(value=0.003, low=-0.003, high=0.008),
        "metric_loss_chance": 0.5,
        "speeds": (a_speed(1.5),),
        "cold_load_s": None,
        "memory_bytes": 0,
    }
    return Variant(**{**given, **changes})


def an_optimization(*variants: Variant, **changes: Any) -> Optimization:
    """Return an optimization that found these variants."""
    one = Interval(value=1.0, low=1.0, high=1.0)
    baseline = a_variant(
        version=None,
        steps=(),
        accepted=False,
        pareto=False,
        size_ratio=1.0,
        metric_loss=Interval(value=0, low=0, high=0),
        speeds=(Speed(batch_size=8, run_ms=one, speedup=one),),
    )
    hardware = Hardware(
        processor="A [fine] processor", processor_count=2, memory_bytes=1, accelerators=(), provider="CPU"
    )
    given = {
        "name": "optimizations/j1",
        "model": "digits",
        "version": 1,
        "recipe": "int8",
        "steps": (),
        "dataset": "rows",
        "alias": "",
        "job": a_job(),
        "result": Measurements(
            baseline=baseline, variants=variants, hardware=hardware, libraries={"onnxruntime": "1.31"}
        ),
    }
    return Optimization(**{**given, **changes})
