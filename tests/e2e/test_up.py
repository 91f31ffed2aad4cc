"""`servemesh up` as a user runs it: what it starts, heals, refuses and ends."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import urllib.request
from pathlib import Path

import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

from examples.demo.mesh import SERVEMESH, DemoMesh
from examples.demo.models import Digits
from servemesh.client import Client
from tests.harness.waiting import blocking_until

PROCESSES = (
    *("nats", "weed", "registry", "metrics", "optimizer", "gateway", "rest", "console", "envoy"),
    *("worker-1", "worker-2"),
)
FREE_PORTS = ("--port", "0", "--http-port", "0", "--console-port", "0", "--metrics-port", "0")


def servemesh(*words: str, timeout_s: float = 60) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*SERVEMESH, *words], capture_output=True, text=True, check=False, timeout=timeout_s
    )


def pids_of(mesh: DemoMesh) -> list[int]:
    status = json.loads((mesh.folder / "runtime.json").read_text())
    return [status["pid"], *(process["pid"] for process in status["processes"] if process["pid"])]


def is_alive(pid: int) -> bool:
    """Whether the process runs; a zombie that nobody has asked about does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def slots_of(mesh: DemoMesh) -> list[tuple[str, str]]:
    return [(slot["model"], slot["state"]) for worker in mesh.status()["workers"] for slot in worker["slots"]]


def test_every_process_and_slot_is_listed(user_mesh: DemoMesh):
    status = user_mesh.status()
    assert {process["name"] for process in status["processes"]} == set(PROCESSES)
    assert all(psutil.pid_exists(process["pid"]) for process in status["processes"])
    # The deployment is READY as soon as one worker has it.
    blocking_until(lambda: slots_of(user_mesh) == [("digits", "READY")] * 2, 60)


def test_a_pushed_model_answers(user_mesh: DemoMesh, digits: Digits):
    with Client(user_mesh.address) as client:
        labels = client.infer("digits", {"image": digits.images})["label"]
    assert (labels.ravel() == digits.labels).mean() > 0.9


def test_the_metrics_of_the_whole_mesh_are_one_valid_page(user_mesh: DemoMesh):
    address = user_mesh.status()["metrics_address"]
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=10) as page:
        text = page.read().decode()
    families = list(text_string_to_metric_families(text))
    seen = {sample.labels.get("process") for family in families for sample in family.samples}
    assert {"registry", "gateway", "envoy", "worker-1", "worker-2"} <= seen
    types = [line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")]
    assert len(set(types)) == len(types)


def test_a_second_mesh_on_the_same_folder_is_refused(user_mesh: DemoMesh):
    answer = servemesh("up", "--data-dir", str(user_mesh.folder), *FREE_PORTS)
    assert answer.returncode == 1
    assert "already runs" in answer.stderr
    assert user_mesh.status()["ready"]


@pytest.mark.parametrize("option", ["--port", "--http-port", "--console-port", "--metrics-port"])
def test_a_taken_port_is_named(tmp_path: Path, option: str):
    ports = dict(zip(FREE_PORTS[::2], FREE_PORTS[1::2], strict=True))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        ports[option] = str(taken.getsockname()[1])
        words = [word for pair in ports.items() for word in pair]
        answer = servemesh("up", "--data-dir", str(tmp_path), *words)
    assert answer.returncode == 1
    assert ports[option] in answer.stderr
    assert option in answer.stderr


@pytest.mark.timeout(240)
def test_a_mesh_ends_whole_and_comes_back_at_once_with_what_it_had(tmp_path: Path, digits: Digits):
    with DemoMesh(tmp_path, workers=1) as mesh, Client(mesh.address) as client:
        client.push("digits", digits.model)
        client.deploy("digits", wait_s=60)
        pids = pids_of(mesh)
    assert not any(is_alive(pid) for pid in pids), "the command waits for all of them"
    with DemoMesh(tmp_path, workers=1) as mesh, Client(mesh.address) as client:
        assert len(client.infer("digits", {"image": digits.images[:3]})["label"]) == 3
        pids = pids_of(mesh)
        os.kill(mesh.pid, signal.SIGTERM)
        blocking_until(lambda: not any(is_alive(pid) for pid in pids), 60)


@pytest.mark.timeout(240)
def test_a_detached_mesh_is_ended_by_down(tmp_path: Path):
    folder = str(tmp_path)
    up = servemesh("up", "--data-dir", folder, *FREE_PORTS, "--detach", "--json")
    assert up.returncode == 0, up.stderr
    pids = [json.loads(up.stdout)["pid"], *(item["pid"] for item in json.loads(up.stdout)["processes"])]
    assert "ready" in servemesh("logs", "registry", "--data-dir", folder).stdout
    assert servemesh("down", "--data-dir", folder).returncode == 0
    blocking_until(lambda: not any(is_alive(pid) for pid in pids), 60)
    assert servemesh("down", "--data-dir", folder).returncode == 0
