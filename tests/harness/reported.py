"""A day to report on: a model that gets worse with a version, a worker that is lost, a disk that fills."""

from __future__ import annotations

import math

import numpy as np

from servemesh.metrics.domain.alerting.alerts import Alert, advanced
from servemesh.metrics.domain.figures import Figures
from servemesh.metrics.domain.queries import Annotation, Window
from servemesh.metrics.domain.reporting.contents import Course, Findings, Outlook, Trouble
from servemesh.metrics.domain.reporting.reports import Order, ReportKind
from tests.harness.simulated_alerts import a_rule, seen

BEGIN_S = 1_795_132_800.0  # 2026-11-20, midnight in UTC
DAY = Window(begin_s=BEGIN_S, end_s=BEGIN_S + 86_400)
STEP_S = 900.0
_HOURS = np.arange(96) / 4


def figures_of(subject: str, call_count: int = 1_234_567) -> Figures:
    """Return figures of a day."""
    nothing = not call_count
    return Figures(
        subject=subject,
        call_count=call_count,
        call_rate=call_count / 86_400,
        error_ratio=math.nan if nothing else 0.00123,
        p50_s=math.nan if nothing else 0.0123,
        p95_s=math.nan if nothing else 0.0456,
        p99_s=math.nan if nothing else 0.123,
        queue_share=math.nan if nothing else 0.31,
        rows_per_run=math.nan if nothing else 5.4,
        busy_share=math.nan if nothing else 0.47,
        utilisation=math.nan if nothing else 0.9987,
        fault_tolerance=math.nan if nothing else 0.973,
        cpu_s_per_1000=math.nan if nothing else 7.3,
        gpu_s_per_1000=math.nan,
        cost_per_1000=math.nan if nothing else 0.00012,
    )


def a_day() -> Findings:
    """Return what is found of it."""
    return Findings(
        order=Order(kind=ReportKind.DAILY, window=DAY),
        create_s=DAY.end_s + 900,
        mesh=figures_of(""),
        models=[figures_of("models/digits", 1_000_000), figures_of("models/minilm", 234_567)],
        workers=[figures_of(f"workers/worker-{number}", 400_000) for number in (1, 2, 3)],
        courses=_courses(),
        troubles=[
            Trouble(
                model="digits",
                where="version 7",
                what="INTERNAL",
                count=1_519,
                began_s=BEGIN_S + 14.25 * 3_600,
                cause="began 2 min after deployment.updated of deployments/digits: deployments/digits changed.",
            )
        ],
        alerts=[_alert("digits", BEGIN_S + 14.5 * 3_600)],
        changes=[
            _change(
                9.0, "version.created", "models/digits/versions/7", "models/digits/versions/7 was pushed."
            ),
            _change(14.2, "deployment.updated", "deployments/digits", "deployments/digits changed."),
            _change(
                17.0, "worker.lost", "workers/worker-2", "workers/worker-2 fell silent and lost its lease."
            ),
        ],
        outlooks=[_outlook()],
        without_outlook={"minilm": "there is too little history for it"},
    )


def _courses() -> dict[str, Course]:
    day = 40 + 30 * np.sin((_HOURS - 8) / 24 * 2 * np.pi)
    traffic = np.where(_HOURS > 13, 2 * day, day)
    errors = np.where((_HOURS > 14.2) & (_HOURS < 15.5), 0.08, 0.0004)
    gone = np.where((_HOURS > 17) & (_HOURS < 17.6), math.nan, 0.5)
    return {
        "rate": _course(digits=traffic, minilm=day / 3),
        "rows": _course(digits=traffic * 2, minilm=day),
        "errors": _course(digits=errors, minilm=errors / 50),
        "p99": _course(digits=0.03 + traffic / 900, minilm=np.full(96, 0.12)),
        "p50": _course(digits=0.004 + traffic / 9_000, minilm=np.full(96, 0.05)),
        "busy": _course(**{"worker-1": traffic / 150, "worker-2": gone, "worker-3": traffic / 170}),
        "cpu": _course(**{"node-1": 0.2 + traffic / 200}),
        "memory": _course(**{"node-1": np.linspace(0.52, 0.61, 96)}),
        "disk": _course(**{"node-1": np.linspace(0.55, 0.91, 96)}),
        "gpu": _course(),
    }


def _course(**lines: np.ndarray) -> Course:
    return Course(begin_s=BEGIN_S, step_s=STEP_S, lines=lines)


def _alert(model: str, fired_s: float) -> Alert:
    alert = advanced(a_rule(for_s=0.0), None, seen(model, 2.0), fired_s, gap_s=60.0)
    assert alert is not None
    return alert


def _change(hour: float, kind: str, resource: str, text: str) -> Annotation:
    time_s = BEGIN_S + hour * 3_600
    return Annotation(annotation_id=f"{kind}{hour}", time_s=time_s, kind=kind, resource=resource, text=text)


def _outlook() -> Outlook:
    expected = 160 + 120 * np.sin((np.arange(96) / 4 - 8) / 24 * 2 * np.pi)
    return Outlook(
        model="digits",
        method="mstl",
        begin_s=DAY.end_s,
        step_s=STEP_S,
        expected=expected.tolist(),
        low=(expected * 0.8).tolist(),
        high=(expected * 1.25).tolist(),
        backtest_error=7.3,
        naive_error=11.9,
        capacity=240.0,
        exceeded_s=DAY.end_s + 11 * 3_600,
    )
