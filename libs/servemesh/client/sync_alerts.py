"""Alerts and reports, as programs that block see them: a part of `Client.metrics`."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

from servemesh.client import alerting
from servemesh.client.alerting import OnAlert
from servemesh.client.alerts import Alert, AlertRule, Report, Silence
from servemesh.client.blocking import BlockingRunner

CALL_S = 30.0
REPORT_S = 300.0
WATCH_S = 3_600.0


class Alerts:
    """What fires, what is silenced, and what was written about it."""

    _runner: BlockingRunner

    def alert_rules(self, *, timeout_s: float = CALL_S) -> list[AlertRule]:
        """Return the rules that alerts are made by, in the order of their files."""
        return self._runner.run(alerting.rules(), timeout_s)

    def alerts(self, *, with_resolved: bool = False, timeout_s: float = CALL_S) -> list[Alert]:
        """Return the alerts that are pending or firing, newest first, and those that were resolved if asked for."""
        return self._runner.run(alerting.list_alerts(with_resolved=with_resolved), timeout_s)

    def watch_alerts(self, on_change: OnAlert, *, watch_s: float = WATCH_S) -> None:
        """Call `on_change` with every alert that is pending or firing, then with each that changes, for so long.

        After a break all that are pending or firing are told of again.
        """
        self._runner.run(alerting.watch(on_change, watch_s, time.monotonic), watch_s)

    def silences(self, *, timeout_s: float = CALL_S) -> list[Silence]:
        """Return the silences that have not ended, the soonest to end first."""
        return self._runner.run(alerting.silences(), timeout_s)

    def silence(
        self,
        filters: Mapping[str, str | Sequence[str]],
        end_time: datetime,
        comment: str = "",
        *,
        timeout_s: float = CALL_S,
    ) -> Silence:
        """Keep alerts from being delivered until `end_time`: those that have, for each label, one of its values.

        `rule` and `severity` are labels too. InvalidError: it is malformed, or ends in the past or after a year.
        """
        return self._runner.run(alerting.silence(filters, end_time, comment), timeout_s)

    def end_silence(self, name: str, *, timeout_s: float = CALL_S) -> None:
        """End a silence now. MissingError: there is none of that name, or it has ended."""
        self._runner.run(alerting.end_silence(name), timeout_s)

    def reports(self, *, timeout_s: float = CALL_S) -> list[Report]:
        """Return the reports, newest first."""
        return self._runner.run(alerting.list_reports(), timeout_s)

    def create_report(
        self,
        start_time: datetime,
        end_time: datetime | None = None,
        *,
        model: str = "",
        timeout_s: float = REPORT_S,
    ) -> Report:
        """Have a report written, of the mesh or of a model, until now or `end_time`, and return it.

        The same window and subject give the same report.
        """
        return self._runner.run(alerting.create_report(model, start_time, end_time), timeout_s)

    def download_report(
        self, name: str, path: str | Path, *, format: str = "HTML", timeout_s: float = REPORT_S
    ) -> int:
        """Write one file of a report to `path` and return its size in bytes. MissingError: there is none."""
        return self._runner.run(alerting.download_report(name, format, Path(path)), timeout_s)
