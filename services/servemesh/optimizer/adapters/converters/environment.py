"""Environments of frameworks that cannot share ours: made once from pinned requirements, kept for later jobs."""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from servemesh.errors import UnavailableError
from servemesh.optimizer.domain.work import Report

TIMEOUT_S = 1_800.0
CAUSE_CHARS_MAX = 200
_READY = "ready"  # written last


def made(name: str, requirements: Path, root: Path, report: Report) -> Path:
    """Return the Python of the environment for `requirements`, making it where it is not there yet.

    Whoever comes while another makes it waits. UnavailableError with reason ENVIRONMENT_NOT_AVAILABLE if pip, with
    the configuration of this machine, cannot install the packages.
    """
    home = existing_home(name, requirements, root)
    python = home / "bin" / "python"
    with _locked(root / f"{home.name}.lock", name):
        if (home / _READY).exists():
            return python
        report.log(f"Making an environment for {name}; this is done once and takes minutes.")
        shutil.rmtree(home, ignore_errors=True)
        # Our own pip installs, for another Python: to give each environment one takes longer than all the rest.
        _run([sys.executable, "-m", "venv", "--without-pip", str(home)], name, requirements)
        pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--no-input", "--quiet"]
        _run([*pip, "--disable-pip-version-check", "--requirement", str(requirements)], name, requirements)
        (home / _READY).touch()
    return python


def existing_home(name: str, requirements: Path, root: Path) -> Path:
    """Return the folder of the environment, whether it is there or not."""
    pinned = requirements.read_bytes() + f"{sys.version_info[:2]}".encode()
    return root / f"{name}-{hashlib.sha256(pinned).hexdigest()[:12]}"


def is_made(name: str, requirements: Path, root: Path) -> bool:
    """Whether nothing has to be installed."""
    return (existing_home(name, requirements, root) / _READY).exists()


@contextmanager
def _locked(path: Path, name: str) -> Iterator[None]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("w")
    except OSError as error:
        raise _unavailable(name, "its folder cannot be written", "") from error
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _run(command: Sequence[str], name: str, requirements: Path) -> None:
    pins = ", ".join(
        line for line in requirements.read_text().splitlines() if line and not line.startswith("#")
    )
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise _unavailable(name, f"pip took longer than {TIMEOUT_S:g} s", pins) from error
    except OSError as error:
        raise _unavailable(name, "this Python cannot make virtual environments", pins) from error
    if done.returncode != 0:
        print(done.stdout, done.stderr, file=sys.stderr)  # noqa: T201 - the child's log, on this machine
        raise _unavailable(name, _cause(done.stderr or done.stdout), pins)


def _cause(text: str) -> str:
    """The first error that pip states, without addresses and paths."""
    errors = [line.removeprefix("ERROR: ") for line in text.splitlines() if line.startswith("ERROR: ")]
    words = (errors or ["the packages cannot be installed"])[0].split()
    return " ".join(word for word in words if "/" not in word)[:CAUSE_CHARS_MAX]


def _unavailable(name: str, cause: str, pins: str) -> UnavailableError:
    return UnavailableError(
        f"the environment that {name} needs cannot be made on the optimizer's machine: {cause}. Its pip must reach a "
        f"package index, or have wheels (pip.conf), for Python {sys.version_info[0]}.{sys.version_info[1]} with "
        f"{pins}",
        reason="ENVIRONMENT_NOT_AVAILABLE",
        field=name,
        cause=cause,
        requirements=pins,
    )
