"""A bad day, in a minute: `python -m bench.metrics.bad_day` (`make bad-day`).

A mesh as `servemesh up` starts it serves a real model under real calls. Beside it four workers that are not there send,
over OTLP, a usual day and then a bad hour: traffic doubles, one worker becomes slow, the disk fills. Then
a bad version of the real model is deployed. Alerts, the webhook, the report, the forecast and the console must tell
just that, and no more; and once all is well again the alerts must be over.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bench.metrics.bad_day_console import look
from bench.metrics.bad_day_parts import Callers, bad_version, metrics_address
from bench.metrics.simulated_workers import (
    HOST,
    MODEL,
    WORKERS,
    Sender,
    Situation,
    requests,
    usual_rows_per_s,
)
from examples.demo.mesh import DemoMesh
from examples.demo.models import trained_digits
from servemesh.client import Client
from servemesh.client.alerts import Alert
from servemesh.errors import ServemeshError
from tests.harness.alert_hook import Hook
from tests.harness.browser import CHROMIUM

RULES = Path(__file__).parent / "bad_day_rules"
HISTORY_S = 18 * 3_600.0
LIVE_S = 1.0
WAIT_S = 60.0
SETTINGS = {
    "SERVEMESH_METRICS_RULES_DIR": str(RULES),
    "SERVEMESH_METRICS_RULES_INTERVAL_S": "1",
    "SERVEMESH_METRICS_RULES_LAG_S": "3",
    "SERVEMESH_METRICS_ALERT_WAIT_S": "1",
    "SERVEMESH_METRICS_ALERT_INTERVAL_S": "2",
    "SERVEMESH_METRICS_LATE_S_MAX": "864000",
    "SERVEMESH_METRICS_FLUSH_S": "0.5",
    "SERVEMESH_METRICS_REPORTS_SCHEDULED": "false",
}
STORY = {
    ("disk_filling", HOST),
    ("model_p99_high", MODEL),
    ("worker_saturated", WORKERS[2]),
    ("model_capacity", MODEL),
    ("model_error_budget", "digits"),
}
"""What must fire, by rule and subject."""


@dataclass(slots=True)
class BadDay:
    """The day, its mesh, and what was seen of it."""

    client: Client
    sender: Sender
    folder: Path
    console: str
    """URL of the console."""
    situation: Situation = field(default_factory=lambda: Situation(rows_per_s=usual_rows_per_s(time.time())))
    sent_s: float = 0.0
    over: threading.Event = field(default_factory=threading.Event)
    said: Callable[[str], None] = lambda text: print(text, flush=True)

    def send_history(self) -> None:
        """A usual day, and the bad hour up to now."""
        now_s = time.time()
        messages = []
        for begin_s in _steps(now_s - HISTORY_S, now_s - 3 * 3_600, 300.0):
            usual = Situation(rows_per_s=usual_rows_per_s(begin_s), disk_share=0.5)
            messages += requests(begin_s, begin_s + 300.0, usual)
        for begin_s in _steps(now_s - 3 * 3_600, now_s - 120, 60.0):
            messages += requests(begin_s, begin_s + 60.0, _bad_hour(begin_s, now_s))
        for begin_s in _steps(now_s - 120, now_s, LIVE_S):
            messages += requests(begin_s, begin_s + LIVE_S, _bad_hour(begin_s, now_s))
        self.sender.send(messages)
        self.situation, self.sent_s = _bad_hour(now_s, now_s), now_s

    def live(self) -> None:
        """Go on sending what is now, until the day is over."""
        while not self.over.wait(LIVE_S):
            steps = _steps(
                self.sent_s, time.time() - LIVE_S / 2, LIVE_S
            )  # however late it is, none is longer
            for begin_s in steps:
                self.sender.send(requests(begin_s, begin_s + LIVE_S, self.situation))
            self.sent_s += len(steps) * LIVE_S

    def firing(self) -> dict[tuple[str, str], Alert]:
        """What fires of the story's subjects, by rule and subject; this machine may have troubles of its own."""
        subjects = {HOST, MODEL, "digits", *WORKERS}
        return {
            (alert.rule, subject): alert
            for alert in self.client.metrics.alerts()
            if alert.state == "FIRING" and (subject := next(iter(alert.labels.values()), "")) in subjects
        }

    def until(
        self, wanted: set[tuple[str, str]], what: str, *, perhaps: frozenset[tuple[str, str]] = frozenset()
    ) -> dict[tuple[str, str], Alert]:
        """Wait until just that fires, and perhaps that."""
        begin_s = time.monotonic()
        while (found := self.firing()).keys() - perhaps != wanted:
            waited_s = time.monotonic() - begin_s
            if waited_s > WAIT_S:
                raise AssertionError(f"{what}: fires {sorted(found)}, expected {sorted(wanted)}")
            time.sleep(0.2)
        self.said(f"{time.monotonic() - begin_s:6.1f} s  {what}")
        for (_, subject), alert in sorted(found.items()):
            self.said(f"          {alert.severity:<8} {alert.rule} ({subject}): {alert.text}")
        return found


def _bad_hour(time_s: float, now_s: float) -> Situation:
    """Traffic doubles an hour ago, a worker becomes slow 40 minutes ago, and the disk fills all the while."""
    usual, ago_s = usual_rows_per_s(time_s), now_s - time_s
    is_bad = ago_s <= 3_600
    return Situation(
        rows_per_s=max(900.0, 2.0 * usual) if is_bad else usual,  # the workers can do about 640
        slow_worker=WORKERS[2] if ago_s <= 2_400 else "",
        slowness=5.0,
        disk_share=0.55 + 0.25 * (1 - ago_s / 3_600) if is_bad else 0.55,
    )


def _steps(begin_s: float, end_s: float, step_s: float) -> Sequence[float]:
    return [begin_s + place * step_s for place in range(round((end_s - begin_s) / step_s))]


def told(day: BadDay, hook: Hook) -> None:
    """The day from its first minute to its last."""
    with Callers(day.client, trained_digits().images[:1]) as callers:
        day.until(set(), "a usual day: nothing fires")
        day.send_history()
        day.said(f"          {day.sender.point_count:,} points of a day and its bad hour were taken")
        live = threading.Thread(target=day.live)
        live.start()
        try:
            day.until(
                STORY - {("model_error_budget", "digits")}, "traffic doubled, a worker is slow, a disk fills"
            )
            day.client.push("digits", bad_version(day.folder))
            day.client.deploy("digits", version=2, wait_s=30)
            fired = day.until(STORY, "version 2 of digits was deployed")
            day.said(f"          {callers.failed} calls failed")
            check_webhook(hook, fired)
            check_report(day)
            check_forecast(day)
            check_console(day, fired)
            day.client.deploy("digits", version=1, wait_s=30)
            day.situation = replace(
                day.situation, rows_per_s=usual_rows_per_s(time.time()), slow_worker="", disk_share=0.3
            )
            # A forecast believes an hour of double traffic rather than half a minute of the usual.
            perhaps = frozenset({("model_capacity", MODEL)})
            day.until(set(), "version 1 is back, and all is well: nothing fires", perhaps=perhaps)
        finally:
            day.over.set()
            live.join()


def check_webhook(hook: Hook, fired: dict[tuple[str, str], Alert]) -> None:
    """Every alert was delivered, signed, a group at a time."""
    hook.until(
        lambda: {alert["name"] for alert in hook.alerts("firing")} >= {alert.name for alert in fired.values()}
    )
    assert hook.forged == 0, "a delivery whose signature is wrong"


def check_report(day: BadDay) -> None:
    """The report names the bad version as the cause, and the alerts, and draws the disk."""
    now = datetime.now(UTC)
    report = day.client.metrics.create_report(now - timedelta(hours=3), now)
    page = day.folder / "bad-day.html"
    day.client.metrics.download_report(report.name, page)
    day.client.metrics.download_report(report.name, day.folder / "bad-day.csv", format="CSV")
    text = page.read_text()
    assert "version 2" in text, "the report does not name the version that failed"
    assert "deployment.updated of deployments/digits" in text, "the report does not say what it came from"
    for rule, _ in STORY:
        assert rule in text, f"the report has no word of {rule}"
    assert "Disk used" in text
    assert "models/shop" in (day.folder / "bad-day.csv").read_text()
    day.said(
        f"          report: {report.name}, {', '.join(report.formats)}, {report.size_bytes:,} bytes: {page}"
    )


def check_forecast(day: BadDay) -> None:
    """The demand for the shop exceeds what its workers can do, and nothing is said of more."""
    capacity = day.client.metrics.capacity(horizon_s=4 * 3_600)
    shop = next(each for each in capacity.models if each.model == MODEL)
    assert shop.exceeded_time is not None, "the forecast does not see that the shop will lack workers"
    assert capacity.needed_at_peak > len(WORKERS), f"{capacity.needed_at_peak} workers are said to be enough"
    day.said(
        f"          forecast: {capacity.needed_at_peak} workers needed for {shop.peak_demand:,.0f} rows/s"
    )


def check_console(day: BadDay, fired: dict[tuple[str, str], Alert]) -> None:
    """Whoever looks at the console in a browser reads the same; its pages are kept as pictures."""
    if CHROMIUM is None:
        day.said("          console: not looked at, no Chromium here; `apt-get install chromium` brings one")
        return
    asyncio.run(look(day.console, fired.values(), day.folder))
    day.said("          console: alerts, capacity and the failing model are told; pictures beside the report")


def main(arguments: Sequence[str] | None = None) -> int:
    """Live through the day; 0 if it was told rightly."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--keep", type=Path, help="folder for the report; without it nothing is kept")
    asked = parser.parse_args(arguments)
    begin_s = time.monotonic()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="servemesh-bad-day-")))
        kept = asked.keep or folder
        kept.mkdir(parents=True, exist_ok=True)
        hook = stack.enter_context(Hook())
        os.environ.update(SETTINGS | hook.settings)
        mesh = stack.enter_context(DemoMesh(folder / "mesh", workers=2))
        client = stack.enter_context(Client(mesh.address))
        client.push("digits", trained_digits().model)
        client.deploy("digits", version=1, wait_s=60)
        sender = Sender(metrics_address(mesh))
        console = f"http://{mesh.status()['console_address']}"
        stack.callback(sender.close)
        try:
            told(BadDay(client=client, sender=sender, folder=kept, console=console), hook)
        except (AssertionError, ServemeshError) as error:
            print(f"wrong: {error}", file=sys.stderr)
            return 1
    print(f"The day was told rightly, in {time.monotonic() - begin_s:.0f} s.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
