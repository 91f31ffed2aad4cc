"""Has forecasts made by a child process: bounded in time, ended with whoever asked."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
from collections.abc import Sequence

import numpy as np

from servemesh import child
from servemesh.errors import UnavailableError
from servemesh.metrics.domain.forecasting import Forecast, Projection
from servemesh.metrics.service.forecasting import History
from servemesh.observe import names

_COMMAND = (sys.executable, "-P", "-m", "servemesh.metrics.adapters.forecast_child")
_ANSWER_BYTES_MAX = 16 * 1024 * 1024
_START_S = 20.0
"""What importing the libraries may take, on a busy machine, beside the time for the work."""

_log = logging.getLogger(__name__)


class ChildForecaster:
    """One child at a time; implements Forecaster."""

    def __init__(self, *, time_s: float) -> None:
        self._time_s = time_s
        self._turn = asyncio.Lock()

    async def forecast(self, histories: Sequence[History]) -> list[Forecast]:
        """Return a forecast for each history. UnavailableError if the child fails."""
        request = {
            "parent": os.getpid(),
            "time_s": self._time_s,
            "series": [
                {"values": each.values.tolist(), "steps": each.steps, "seasons": each.seasons}
                for each in histories
            ],
        }
        async with self._turn:
            answer = await self._asked(json.dumps(request).encode())
        return [_forecast(each) for each in answer["forecasts"]]

    async def _asked(self, request: bytes) -> dict[str, list[dict[str, object]]]:
        try:
            reply = await child.asked(
                _COMMAND,
                request,
                timeout_s=self._time_s + _START_S,
                answer_bytes_max=_ANSWER_BYTES_MAX,
            )
        except TimeoutError:  # is an OSError, too
            raise _failed("timeout") from None
        except OSError as error:
            raise _failed(f"it does not start: {error.strerror}") from None
        if reply.status or not reply.answer:
            raise _failed(f"status {reply.status}", reply.last_words)
        found: dict[str, list[dict[str, object]]] = json.loads(reply.answer)
        return found


def _failed(cause: str, last_words: str = "") -> UnavailableError:
    _log.warning(names.FORECAST_FAILED, extra={"cause": cause, "detail": last_words})
    return UnavailableError("the forecast could not be made in time", reason="FORECAST_FAILED")


def _forecast(fields: dict[str, object]) -> Forecast:
    def array(name: str) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
        return np.array(fields[name], np.float64)

    return Forecast(
        method=str(fields["method"]),
        projection=Projection(expected=array("expected"), low=array("low"), high=array("high")),
        backtest_error=float(str(fields["backtest_error"])),
        naive_error=float(str(fields["naive_error"])),
    )
