"""What a real mesh measures of itself, from Python, from the command line and for Prometheus."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from examples.demo.mesh import SERVEMESH, DemoMesh
from servemesh.client import Client
from tests.harness import metrics_page
from tests.harness.processes import Child, accepts, free_ports
from tests.harness.waiting import blocking_until

ARRIVE_S = 60.0
CALLS = 20
MESH_PAGE = "/mesh"


@pytest.fixture(scope="module")
def client(user_mesh: DemoMesh) -> Iterator[Client]:
    """A client of the mesh, after some calls."""
    with Client(user_mesh.address) as client:
        for _ in range(CALLS):
            client.infer("digits", {"image": np.zeros((1, 64), np.float32)})
        yield client


def most(client: Client, metric: str, measure: str, **options: Any) -> float:
    """Return the greatest value that a query answers with."""
    values = [v for track in client.metrics.query(metric, measure, **options).tracks for v in track.values]
    return max((value for value in values if not math.isnan(value)), default=math.nan)


def servemesh(mesh: DemoMesh, *words: str) -> Any:
    """Run a command that prints JSON."""
    command = [*SERVEMESH, *words, "--address", mesh.address, "--json"]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=60).stdout)


def page_url(mesh: DemoMesh) -> str:
    port = json.loads((mesh.folder / "ports.json").read_text())["metrics-metrics"]
    return f"127.0.0.1:{port}"


@pytest.mark.timeout(300)
def test_calls_machines_and_envoy_are_measured_within_seconds(client: Client):
    asked = {
        "servemesh.worker.calls": {"by": ["model", "version"], "where": {"outcome": "answered"}},
        "envoy.calls": {"where": {"code": "OK"}},
    }
    for metric, options in asked.items():
        blocking_until(lambda: most(client, metric, "increase", **options) > 0, ARRIVE_S, metric)  # noqa: B023
    duration, digits = "servemesh.worker.call.duration", {"model": "digits"}
    blocking_until(lambda: most(client, duration, "", quantile=0.99, where=digits) > 0, ARRIVE_S, duration)
    assert most(client, duration, "", quantile=0.99, where=digits) < 5
    for metric in ("servemesh.host.cpu.busy", "servemesh.host.disk.used", "servemesh.process.memory"):
        blocking_until(lambda: most(client, metric, "max") > 0, ARRIVE_S, metric)  # noqa: B023
    wanted = {("worker", "worker-1"), ("registry", "registry"), ("metrics", "metrics")}
    blocking_until(lambda: wanted <= senders(client), ARRIVE_S, "everybody's memory")


def senders(client: Client) -> set[tuple[str, str]]:
    """Return the services and instances that have told what memory they take."""
    reading = client.metrics.query("servemesh.process.memory", "last", by=["service", "instance"])
    return {(track.labels["service"], track.labels["instance"]) for track in reading.tracks}


@pytest.mark.timeout(120)
def test_what_changed_is_noted_with_a_sentence(client: Client):
    def notes() -> set[str]:
        return {note.kind for note in client.metrics.annotations()}

    blocking_until(lambda: {"deployment.created", "version.created", "worker.joined"} <= notes(), ARRIVE_S)
    (note,) = client.metrics.annotations(resource="deployments/digits")
    assert note.text == "deployments/digits was created."


@pytest.mark.timeout(120)
def test_the_command_line_shows_the_same(user_mesh: DemoMesh, client: Client):
    blocking_until(lambda: most(client, "servemesh.worker.calls", "increase") > 0, ARRIVE_S)
    names = {metric["metric"] for metric in servemesh(user_mesh, "metrics", "ls")}
    assert {"servemesh.worker.call.duration", "envoy.calls", "servemesh.host.cpu.busy"} <= names
    reading = servemesh(
        user_mesh, "metrics", "query", "servemesh.worker.calls", "--by", "model", "--last", "10m"
    )
    assert "digits" in {track["labels"]["model"] for track in reading["tracks"]}
    rows = servemesh(user_mesh, "top", "--once", "--window", "600")
    assert ("digits", "1") in {(row["model"], row["version"]) for row in rows}
    assert all(row["p99_ms"] is None or row["p99_ms"] > 0 for row in rows)


@pytest.mark.timeout(180)
def test_an_unmodified_prometheus_scrapes_the_mesh_and_finds_nothing_to_say(
    user_mesh: DemoMesh, client: Client, tmp_path: Path
):
    prometheus, promtool = shutil.which("prometheus"), shutil.which("promtool")
    if prometheus is None or promtool is None:
        pytest.skip("PROMETHEUS IS MISSING: install Debian's package `prometheus` to scrape the mesh with it")
    blocking_until(lambda: most(client, "servemesh.worker.calls", "increase") > 0, ARRIVE_S)
    text = metrics_page.read(page_url(user_mesh), MESH_PAGE)
    done = subprocess.run(
        [promtool, "check", "metrics"], input=text, text=True, capture_output=True, timeout=30, check=False
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    config = {
        "global": {"scrape_interval": "1s"},
        "scrape_configs": [
            {
                "job_name": "servemesh",
                "honor_labels": True,
                "metrics_path": MESH_PAGE,
                "static_configs": [{"targets": [page_url(user_mesh)]}],
            }
        ],
    }
    (tmp_path / "prometheus.json").write_text(json.dumps(config))
    (port,) = free_ports(1)
    command = [
        prometheus,
        f"--config.file={tmp_path / 'prometheus.json'}",
        f"--storage.tsdb.path={tmp_path / 'tsdb'}",
    ]
    child = Child([*command, f"--web.listen-address=127.0.0.1:{port}"], log=tmp_path / "prometheus.log")
    child.start()
    try:
        child.wait_ready(lambda: accepts(port), 20)
        query = 'servemesh_worker_calls_total{model="digits",outcome="answered"}'
        blocking_until(lambda: bool(asked(port, query)), 60, "Prometheus has the calls")
        assert [sample["value"][1] for sample in asked(port, 'up{job="servemesh"}')] == ["1"]
        assert {sample["metric"]["service"] for sample in asked(port, query)} == {"worker"}
    finally:
        child.stop()


def asked(port: int, query: str) -> list[dict[str, Any]]:
    url = f"http://127.0.0.1:{port}/api/v1/query?" + urllib.parse.urlencode({"query": query})
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            found: list[dict[str, Any]] = json.loads(answer.read())["data"]["result"]
            return found
    except OSError:
        return []
