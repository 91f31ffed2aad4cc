"""Forecasts in a process of its own: `python -m servemesh.metrics.adapters.forecast_child`, JSON in and out.

It reads one object from stdin, with `series` and the number of the process that asks, and writes one with `forecasts`
to stdout. Libraries that take seconds to import and keep a processor busy stay out of the service in this way.
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from statsforecast.models import MSTL, AutoETS

from servemesh.metrics.domain import forecasting
from servemesh.metrics.domain.forecasting import Floats, Method, Projection
from servemesh.parent_death import die_with_parent

_LEVEL = round(100 * forecasting.CONFIDENCE)
_ETS_SEASON_MAX = 24


def main() -> None:
    """Answer one request."""
    request = json.load(sys.stdin)
    die_with_parent(request["parent"])
    until_s = time.monotonic() + request["time_s"]
    warnings.simplefilter("ignore")
    forecasts = []
    for place, one in enumerate(request["series"]):
        now_s = time.monotonic()
        ends_s = now_s + (until_s - now_s) / (len(request["series"]) - place)
        forecasts.append(_forecast(one, _before(ends_s)))
    json.dump({"forecasts": forecasts}, sys.stdout)


def _before(ends_s: float) -> Callable[[], bool]:
    return lambda: time.monotonic() < ends_s


def _forecast(one: dict[str, Any], has_time: Callable[[], bool]) -> dict[str, Any]:
    history = np.array(one["values"], np.float64)
    seasons, steps = tuple(one["seasons"]), one["steps"]
    others = {"auto_ets": _ets(seasons)}
    if seasons:
        others = {"mstl": _mstl(seasons)} | others
    found = forecasting.chosen(
        history,
        steps,
        forecasting.seasonal_naive(max(seasons, default=1)),
        others,
        first_steps=forecasting.first_steps(seasons, steps),
        has_time=has_time,
    )
    said = found.projection
    return {
        "method": found.method,
        "expected": said.expected.tolist(),
        "low": said.low.tolist(),
        "high": said.high.tolist(),
        "backtest_error": found.backtest_error,
        "naive_error": found.naive_error,
    }


def _ets(seasons: tuple[int, ...]) -> Method:
    season = min(seasons, default=1)
    return _method(lambda: AutoETS(season_length=season if season <= _ETS_SEASON_MAX else 1))


def _mstl(seasons: tuple[int, ...]) -> Method:
    return _method(lambda: MSTL(season_length=list(seasons), trend_forecaster=AutoETS(model="ZZN")))


def _method(made: Callable[[], Any]) -> Method:
    def method(history: Floats, steps: int) -> Projection:
        said = made().forecast(y=history, h=steps, level=[_LEVEL])
        return Projection(expected=said["mean"], low=said[f"lo-{_LEVEL}"], high=said[f"hi-{_LEVEL}"])

    return method


if __name__ == "__main__":
    main()
