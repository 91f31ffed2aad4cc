"""A real mesh whose processes can be killed and stopped by name, and what tells that it has healed."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from examples.demo.mesh import DemoMesh
from tests.harness.waiting import blocking_until

SEED = int(os.environ.get("SERVEMESH_FAULTS_SEED", "20261121"))
"""Of every choice that is left to chance; another one tries other moments and another order."""
FULL = os.environ.get("SERVEMESH_FAULTS_LENGTH") == "full"
"""Whether faults last as long as docs/reliability.md says, instead of as short as still shows the same."""
CONTROL = ("registry", "nats", "weed", "gateway", "metrics")
COLLECTOR = "collector"
HEAL_S = 60.0
HTTP_TIMEOUT_S = 5.0


def lasting(short: float, full: float) -> float:
    """Return how long or how often, by what the environment asks for."""
    return full if FULL else short


class FaultMesh:
    """One `servemesh up`, seen through the files that it writes and the admin page of its Envoy."""

    def __init__(self, mesh: DemoMesh, *, collector_pid: int | None = None) -> None:
        self.mesh = mesh
        self.collector_pid = collector_pid
        self.address = mesh.address
        self.folder: Path = mesh.folder
        self._ports: dict[str, int] = json.loads((self.folder / "ports.json").read_text())

    @property
    def processes(self) -> dict[str, dict[str, Any]]:
        """What the supervisor knows of each process, by name."""
        runtime = json.loads((self.folder / "runtime.json").read_text())
        return {process["name"]: process for process in runtime["processes"]}

    @property
    def workers(self) -> list[str]:
        """The names of the workers."""
        return [name for name in self.processes if name.startswith("worker-")]

    def metrics_address(self, name: str) -> str:
        """Where a process of ours shows its own metrics, "host:port"; empty for one that is not ours."""
        port = self._ports.get(f"{name}-metrics")
        return f"127.0.0.1:{port}" if port else ""

    @property
    def pids(self) -> list[int]:
        """Every process of the mesh: the command, the supervisor, and all that it keeps."""
        supervisor = json.loads((self.folder / "runtime.json").read_text())["pid"]
        kept = [process["pid"] for process in self.processes.values() if process["pid"]]
        return [self.mesh.pid, supervisor, *kept]

    @property
    def supervisor_pid(self) -> int:
        """The process that keeps the others."""
        return int(json.loads((self.folder / "runtime.json").read_text())["pid"])

    def kill(self, *names: str, number: signal.Signals = signal.SIGKILL) -> dict[str, int]:
        """Send a signal to these processes; return who they were, for `until_back`."""
        pids = {name: int(self.processes[name]["pid"]) for name in names}
        for pid in pids.values():
            os.kill(pid, number)
        return pids

    @contextlib.contextmanager
    def stopped(self, *names: str) -> Iterator[None]:
        """Have these processes do nothing, as if frozen, for the length of the block."""
        pids = {name: process["pid"] for name, process in self.processes.items()}
        with _frozen(*((pids | {COLLECTOR: self.collector_pid})[name] for name in names)):
            yield

    @contextlib.contextmanager
    def unattended(self) -> Iterator[None]:
        """Have nobody start anew what dies, for the length of the block."""
        with _frozen(self.supervisor_pid):
            yield

    def until_ended(self, gone: dict[str, int]) -> float:
        """Wait until these processes have ended; return how long that took."""
        start_s = time.monotonic()
        blocking_until(lambda: not any(map(is_alive, gone.values())), HEAL_S, f"{[*gone]} have ended")
        return time.monotonic() - start_s

    def tables_taken(self) -> int:
        """How many tables of endpoints Envoy has taken since it started."""
        (line,) = self._admin("stats?filter=^cluster.workers.update_success$").splitlines() or ["0"]
        return int(line.rpartition(":")[2])

    def until_back(self, gone: dict[str, int]) -> None:
        """Wait until each of these runs again as another process, and is ready."""
        blocking_until(lambda: self.is_back(gone), HEAL_S, f"{[*gone]} are back")

    def is_back(self, gone: dict[str, int]) -> bool:
        """Whether each of these runs again as another process, and is ready."""
        known = self.processes
        return all(
            known[name]["pid"] not in (pid, None) and known[name]["state"] == "READY"
            for name, pid in gone.items()
        )

    def until_whole(self) -> None:
        """Wait until the mesh itself says that nothing of it is away."""
        blocking_until(lambda: bool(self.mesh.status()["ready"]), HEAL_S, "the mesh is whole")

    def until_taking_calls(self, *names: str) -> None:
        """Wait until each of these workers has answered calls that came through Envoy; calls must go on."""
        before = self.answered()
        blocking_until(
            lambda: all(self._answered_more(name, before) for name in names),
            HEAL_S,
            f"{[*names]} take calls again",
        )

    def until_answered_by(self, address: str) -> None:
        """Wait until the worker of this address has answered a call that came through Envoy."""
        blocking_until(lambda: self.counts_of(address)[1] > 0, HEAL_S, f"the worker at {address} takes calls")

    def until_forgotten(self, *names: str) -> None:
        """Wait until Envoy knows none of these workers any more: the mesh has given them up."""
        gone = {self.address_of(name) for name in names}
        blocking_until(
            lambda: not gone & _counts(self._admin("clusters"), "rq_total").keys(), HEAL_S, f"{[*names]} go"
        )

    def answered(self) -> dict[str, int]:
        """How many calls Envoy has had answered by each address, since it knows that address."""
        return _counts(self._admin("clusters"), "rq_success")

    def address_of(self, name: str) -> str:
        """Where a process of this name listens."""
        return str(self.processes[name]["address"])

    def counts_of(self, address: str) -> tuple[int, int]:
        """How many calls Envoy has sent to this worker or could not send to it, and how many it had answered."""
        page = self._admin("clusters")
        total, unconnected, answered = (
            _counts(page, name).get(address, 0) for name in ("rq_total", "cx_connect_fail", "rq_success")
        )
        return total + unconnected, answered

    def under_way(self) -> int:
        """How many calls Envoy waits for now."""
        return sum(_counts(self._admin("clusters"), "rq_active").values())

    def _answered_more(self, name: str, before: dict[str, int]) -> bool:
        address = self.processes[name]["address"]
        count = self.answered().get(address, 0)
        return count > 0 and count != before.get(address)

    def ejections(self) -> int:
        """How many times Envoy has taken a worker out of its choice."""
        name = "cluster.workers.outlier_detection.ejections_enforced_total"
        lines = self._admin(f"stats?filter=^{name}$").splitlines()
        return sum(int(line.rpartition(":")[2]) for line in lines)

    def _admin(self, page: str) -> str:
        url = f"http://127.0.0.1:{self._ports['envoy-admin']}/{page}"
        try:
            with urllib.request.urlopen(url, timeout=HTTP_TIMEOUT_S) as answer:
                return str(answer.read().decode())
        except OSError:  # Envoy is being started
            return ""


@contextlib.contextmanager
def _frozen(*pids: int) -> Iterator[None]:
    """Have processes do nothing for the length of the block."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


def _counts(page: str, name: str) -> dict[str, int]:
    lines = (line.split("::") for line in page.splitlines())
    return {
        words[1]: int(words[3])
        for words in lines
        if len(words) == 4 and words[0] == "workers" and words[2] == name
    }


def is_alive(pid: int) -> bool:
    """Whether the process runs; a zombie that nobody has asked about does not."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
