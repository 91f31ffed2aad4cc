"""Alerts, silences and reports over real gRPC, with the SDK and the command line."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from servemesh.cli.main import app
from servemesh.client import AsyncClient
from servemesh.client.alerts import Alert
from servemesh.errors import InvalidError, MissingError
from servemesh.metrics.api.alerts import AlertsApi
from servemesh.metrics.api.metrics import MetricsApi
from servemesh.metrics.api.reports import ReportsApi
from servemesh.rpc.health import Health
from servemesh.rpc.server import serving
from tests.harness.alerting import Service, alerting_in
from tests.harness.reports_desk import Desk


@dataclass(slots=True)
class Mesh:
    """The service behind a real server."""

    service: Service
    desk: Desk
    address: str

    async def command(self, *arguments: str) -> str:
        """What a command prints."""
        options = [*arguments, "--address", self.address]
        result = await asyncio.to_thread(CliRunner().invoke, app, options, env={"COLUMNS": "250"})
        assert result.exit_code == 0, result.output
        return result.output


@asynccontextmanager
async def running(folder: Path) -> AsyncIterator[Mesh]:
    async with alerting_in(folder) as service:
        desk = Desk(service.store, service.readings)
        api = MetricsApi(AlertsApi(service.book), ReportsApi(desk.reports, desk.clock))
        async with serving("127.0.0.1:0", [api.register], health=Health()) as address:
            yield Mesh(service=service, desk=desk, address=address)


@pytest.fixture
async def mesh(tmp_path: Path) -> AsyncIterator[Mesh]:
    async with running(tmp_path) as made:
        yield made


async def test_alerts_are_listed_with_what_they_say(mesh: Mesh):
    mesh.service.values = {"digits": 2.0}
    await mesh.service.look()
    async with AsyncClient(mesh.address) as client:
        [alert] = await client.metrics.alerts()
        [rule] = await client.metrics.alert_rules()
    assert (alert.rule, alert.state, alert.severity, alert.labels) == (
        "hot",
        "FIRING",
        "WARNING",
        {"model": "digits"},
    )
    assert (alert.text, alert.runbook) == ("digits is at 2", "docs/runbooks/model-p99-high.md")
    assert (rule.rule, rule.kind) == ("hot", "threshold")
    listed = json.loads(await mesh.command("alert", "ls", "--json"))
    assert [each["name"] for each in listed] == [alert.name]
    assert "digits is at 2" in " ".join((await mesh.command("alert", "ls")).split())
    assert "hot" in await mesh.command("alert", "rules")


async def test_a_silence_is_made_shown_and_ended(mesh: Mesh):
    mesh.service.clock.jump((datetime.now(UTC) - mesh.service.clock.now()).total_seconds())
    mesh.service.values = {"digits": 2.0}
    await mesh.service.look()
    made = json.loads(
        await mesh.command("silence", "create", "rule=hot", "model=digits,letters", "--for", "2h", "--json")
    )
    async with AsyncClient(mesh.address) as client:
        [alert] = await client.metrics.alerts()
        assert alert.silenced
        [silence] = await client.metrics.silences()
        assert silence.name == made["name"]
        assert silence.filters == {"rule": ("hot",), "model": ("digits", "letters")}
        assert made["name"] in await mesh.command("silence", "ls")
        await mesh.command("silence", "end", made["name"])
        assert await client.metrics.silences() == []
        with pytest.raises(MissingError):
            await client.metrics.end_silence(made["name"])
        with pytest.raises(InvalidError):
            await client.metrics.silence({}, datetime.now(UTC) + timedelta(hours=1))


async def test_whoever_watches_over_the_wire_is_told(mesh: Mesh):
    mesh.service.values = {"digits": 2.0}
    await mesh.service.look()
    told: list[Alert] = []
    async with AsyncClient(mesh.address) as client:
        await client.metrics.watch_alerts(told.append, watch_s=0.5)
    assert [(alert.labels["model"], alert.state) for alert in told] == [("digits", "FIRING")]


async def test_a_report_is_asked_for_listed_and_saved(mesh: Mesh, tmp_path: Path):
    page, figures = tmp_path / "day.html", tmp_path / "day.csv"
    said = await mesh.command(
        "report", "mesh", "--day", "2026-11-20", "--html", str(page), "--csv", str(figures)
    )
    assert str(page) in said.replace("\n", "")
    assert page.read_text().startswith("<!doctype html>")
    assert figures.read_text().startswith("window_start,")
    async with AsyncClient(mesh.address) as client:
        [report] = await client.metrics.reports()
        assert (report.kind, report.model, report.formats) == ("demanded", "", ("HTML", "CSV"))
        assert report.end_time - report.start_time == timedelta(days=1)
        with pytest.raises(MissingError):
            await client.metrics.download_report(report.name, tmp_path / "day.pdf", format="PDF")
    assert not (tmp_path / "day.pdf").exists()
    assert report.name in await mesh.command("report", "ls")
    of_model = json.loads(await mesh.command("report", "model", "digits", "--day", "2026-11-20", "--json"))
    assert of_model["model"] == "digits"
    saved = tmp_path / "again.html"
    await mesh.command("report", "get", report.name, "--html", str(saved))
    assert saved.read_bytes() == page.read_bytes()
