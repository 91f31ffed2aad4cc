"""Checks of what is asked: windows, names, and whether there is history enough."""

from __future__ import annotations

from servemesh.errors import ConflictError, InvalidError, MissingError
from servemesh.metrics.domain.queries import Measure, Query, Window
from servemesh.metrics.service.ports import Readings
from servemesh.observe import names

WINDOW_S_MAX = 400 * 86_400.0
HORIZON_S_MIN, HORIZON_S_MAX = 900.0, 14 * 86_400.0


def checked(window: Window) -> Window:
    """Return the window. InvalidError if it does not end after it begins, or is too long."""
    span_s = window.end_s - window.begin_s
    if not 0 < span_s <= WINDOW_S_MAX:
        raise InvalidError(
            f"window is {span_s:.0f} s long, expected more than 0 s and at most 400 days: let start_time be before "
            "end_time",
            reason="WINDOW_INVALID",
            field="window",
            expected="more than 0 s, at most 400 days",
            got=f"{span_s:.0f} s",
        )
    return window


def checked_horizon(horizon_s: float) -> float:
    """Return the horizon. InvalidError if it is too short or too long."""
    if not HORIZON_S_MIN <= horizon_s <= HORIZON_S_MAX:
        raise InvalidError(
            f"horizon is {horizon_s:.0f} s, expected 15 minutes to 14 days",
            reason="HORIZON_INVALID",
            field="horizon",
            expected="15 minutes to 14 days",
            got=f"{horizon_s:.0f} s",
        )
    return horizon_s


async def require_calls(readings: Readings, window: Window, model: str, version: str = "") -> None:
    """MissingError if nobody has ever measured a call of the model, or of that version of it."""
    filters = {"model": (model,)} | ({"version": (version,)} if version else {})
    query = Query(
        metric=names.WORKER_CALLS.name,
        measure=Measure.INCREASE,
        window=window,
        step_s=window.end_s - window.begin_s,
        filters=filters,
        group_by=("model",),
    )
    if not (await readings.query(query)).tracks:
        name = f"models/{model}/versions/{version}" if version else f"models/{model}"
        raise MissingError(
            f"no call of {name} was ever measured: `servemesh metrics overview --by version` shows what was",
            reason="SUBJECT_UNMEASURED",
            name=name,
        )


def history_missing(what: str, *, need_s: float, got_s: float, then: str) -> ConflictError:
    """Return the error that says how much history is missing, and what to do then."""
    return ConflictError(
        f"{what} needs {span(need_s)} of history, there is {span(got_s)}: {then}",
        reason="HISTORY_TOO_SHORT",
        expected_s=round(need_s),
        got_s=round(got_s),
    )


def span(span_s: float) -> str:
    """Return a span of time in words."""
    if span_s < 120:
        return f"{span_s:.0f} s"
    if span_s < 7200:
        return f"{span_s / 60:.0f} min"
    return f"{span_s / 3600:.1f} h" if span_s < 2 * 86_400 else f"{span_s / 86_400:.1f} days"
