"""Alerts and reports, as programs on an event loop see them: a part of `AsyncClient.metrics`."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

from servemesh.client import alerting
from servemesh.client.alerting import OnAlert
from servemesh.client.alerts import Alert, AlertRule, Report, Silence
from servemesh.client.awaiting import AwaitingRunner
from servemesh.client.sync_alerts import CALL_S, REPORT_S, WATCH_S


class AsyncAlerts:
    """`Alerts` with methods to await, alike in names and errors. `on_change` is called in a thread."""

    _runner: AwaitingRunner

    async def alert_rules(self, *, timeout_s: float = CALL_S) -> list[AlertRule]:
        """As `Alerts.alert_rules`."""
        return await self._runner.run(alerting.rules(), timeout_s)

    async def alerts(self, *, with_resolved: bool = False, timeout_s: float = CALL_S) -> list[Alert]:
        """As `Alerts.alerts`."""
        return await self._runner.run(alerting.list_alerts(with_resolved=with_resolved), timeout_s)

    async def watch_alerts(self, on_change: OnAlert, *, watch_s: float = WATCH_S) -> None:
        """As `Alerts.watch_alerts`."""
        await self._runner.run(alerting.watch(on_change, watch_s, time.monotonic), watch_s)

    async def silences(self, *, timeout_s: float = CALL_S) -> list[Silence]:
        """As `Alerts.silences`."""
        return await self._runner.run(alerting.silences(), timeout_s)

    async def silence(
        self,
        filters: Mapping[str, str | Sequence[str]],
        end_time: datetime,
        comment: str = "",
        *,
        timeout_s: float = CALL_S,
    ) -> Silence:
        """As `Alerts.silence`."""
        return await self._runner.run(alerting.silence(filters, end_time, comment), timeout_s)

    async def end_silence(self, name: str, *, timeout_s: float = CALL_S) -> None:
        """As `Alerts.end_silence`."""
        await self._runner.run(alerting.end_silence(name), timeout_s)

    async def reports(self, *, timeout_s: float = CALL_S) -> list[Report]:
        """As `Alerts.reports`."""
        return await self._runner.run(alerting.list_reports(), timeout_s)

    async def create_report(
        self,
        start_time: datetime,
        end_time: datetime | None = None,
        *,
        model: str = "",
        timeout_s: float = REPORT_S,
    ) -> Report:
        """As `Alerts.create_report`."""
        return await self._runner.run(alerting.create_report(model, start_time, end_time), timeout_s)

    async def download_report(
        self, name: str, path: str | Path, *, format: str = "HTML", timeout_s: float = REPORT_S
    ) -> int:
        """As `Alerts.download_report`."""
        return await self._runner.run(alerting.download_report(name, format, Path(path)), timeout_s)
