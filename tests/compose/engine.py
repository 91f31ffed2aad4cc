"""The mesh of compose.yaml on a Docker Engine, driven as its users drive it: by docker and by Compose."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests.harness.processes import free_ports

ROOT = Path(__file__).parents[2]
PROJECT = "servemesh-test"
BASE = "python:3.11-slim-bookworm"
STEP_S = 900.0
POLL_S = 0.25


def compose_command() -> list[str]:
    """Return Compose v2 where it is installed, else docker-compose."""
    plugin = subprocess.run(["docker", "compose", "version"], capture_output=True, check=False)
    if plugin.returncode == 0:
        return ["docker", "compose"]
    if shutil.which("docker-compose"):
        return ["docker-compose"]
    raise SystemExit("compose-test needs Docker with Compose v2, or docker-compose 1.29")


class Stack:
    """One project of its own, on free ports, beside whatever else runs."""

    def __init__(self) -> None:
        self._compose = [*compose_command(), "--project-name", PROJECT, "--file", str(ROOT / "compose.yaml")]
        first, second, http, console = free_ports(4)
        self.addresses = (f"127.0.0.1:{first}", f"127.0.0.1:{second}")
        self.http_url = f"http://127.0.0.1:{http}"
        self.console_url = f"http://127.0.0.1:{console}"
        ports = {"PORT": first, "SECOND_PORT": second, "HTTP_PORT": http, "CONSOLE_PORT": console}
        self._environment = os.environ | {f"SERVEMESH_{name}": str(port) for name, port in ports.items()}

    def compose(self, *arguments: str) -> str:
        """Run Compose and return what it prints; SystemExit with its words if it fails."""
        return _run([*self._compose, *arguments], self._environment)

    def docker(self, *arguments: str, text: str | None = None) -> str:
        """Run docker and return what it prints."""
        return _run(["docker", *arguments], self._environment, text)

    def version(self) -> str:
        """Return what runs the file."""
        lines = _run([*compose_command(), "version"], self._environment).splitlines()
        return lines[0] if lines else ""

    def containers(self, service: str = "") -> list[str]:
        """Return the ids of the project's containers, or of one service, running or not."""
        labels = [f"com.docker.compose.project={PROJECT}"]
        labels += [f"com.docker.compose.service={service}"] if service else []
        filters = [part for label in labels for part in ("--filter", f"label={label}")]
        return sorted(self.docker("ps", "--all", "--quiet", "--no-trunc", *filters).split())

    def named(self) -> dict[str, str]:
        """Return the name of every container by its id."""
        return {
            found["Id"]: str(found["Name"])
            .lstrip("/")
            .removeprefix(f"{PROJECT}_")
            .removeprefix(f"{PROJECT}-")
            for found in self.inspected(self.containers())
        }

    def inspected(self, containers: Sequence[str]) -> list[dict[str, Any]]:
        """Return what the engine knows of containers."""
        found: list[dict[str, Any]] = json.loads(self.docker("inspect", *containers)) if containers else []
        return found

    def size_bytes(self, image: str) -> int:
        """Return the size of an image with all its layers."""
        return int(self.docker("image", "inspect", "--format", "{{.Size}}", image))

    def unhealthy(self) -> dict[str, str]:
        """Return the containers that do not run, or run and are not healthy, with their state."""
        states = {}
        for found in self.inspected(self.containers()):
            state = found["State"]
            health = state.get("Health", {}).get("Status", "healthy")
            if state["Status"] != "running" or health != "healthy":
                states[str(found["Name"])] = f"{state['Status']}, {health}"
        return states

    def until_healthy(self, timeout_s: float = 180.0) -> float:
        """Wait until every container runs and is healthy; return how long that took."""
        start_s = time.monotonic()
        until(lambda: not self.unhealthy(), timeout_s, lambda: f"these are not well: {self.unhealthy()}")
        return time.monotonic() - start_s

    def logs(self, lines: int = 40) -> str:
        """Return the end of every log."""
        return self.compose("logs", "--no-color", "--tail", str(lines))


def until(condition: Callable[[], bool], timeout_s: float, otherwise: Callable[[], str]) -> None:
    """Return once the condition holds; AssertionError with what `otherwise` says if it does not in time."""
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, f"not within {timeout_s:.0f} s: {otherwise()}"
        time.sleep(POLL_S)


def _run(command: list[str], environment: dict[str, str], text: str | None = None) -> str:
    ended = subprocess.run(
        command, env=environment, input=text, capture_output=True, text=True, timeout=STEP_S, check=False
    )
    if ended.returncode != 0:
        raise SystemExit(
            f"{' '.join(command)} ended with {ended.returncode}:\n{ended.stdout[-2000:]}{ended.stderr[-4000:]}"
        )
    return ended.stdout
