"""Tasks for child processes that behave as badly as libraries can. Imported by the child, never by a test."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from servemesh.errors import InvalidError
from servemesh.optimizer.domain.work import Report

Arguments = dict[str, Any]


def run(arguments: Arguments, folder: Path, report: Report) -> dict[str, Any]:
    """Misbehave as `arguments["how"]` says."""
    ways: dict[str, Callable[[Arguments, Path, Report], dict[str, Any] | None]] = {
        name: way for name, way in globals().items() if callable(way) and not name.startswith("_")
    }
    return ways[arguments["how"]](arguments, folder, report)  # type: ignore[return-value]


def answer(arguments: Arguments, folder: Path, report: Report) -> dict[str, Any]:
    report.progress(0.5, "half")
    report.log("one\ntwo")
    report.progress(1.0, "whole")
    print("what libraries print does no harm")
    environment = dict(os.environ)
    return {
        "got": arguments["value"],
        "environment": environment,
        "cwd": str(Path.cwd()),
        "flags": sys.flags.safe_path,
    }


def segfault(arguments: Arguments, folder: Path, report: Report) -> None:
    ctypes.string_at(0)


def abort(arguments: Arguments, folder: Path, report: Report) -> None:
    os.abort()


def leave(arguments: Arguments, folder: Path, report: Report) -> None:
    os._exit(3)


def say_nothing(arguments: Arguments, folder: Path, report: Report) -> None:
    os._exit(0)


def exit_in_python(arguments: Arguments, folder: Path, report: Report) -> None:
    sys.exit("a library that thinks it is the program")


def eat_memory(arguments: Arguments, folder: Path, report: Report) -> None:
    held = []
    while True:
        held.append(np.ones(8 * 1024**2, np.uint8))
        time.sleep(0.01)


def let_another_eat_memory(arguments: Arguments, folder: Path, report: Report) -> None:
    program = "import time; held = b'x' * (300 * 1024 ** 2); time.sleep(60)"
    subprocess.run([sys.executable, "-c", program], check=False)


def ask_for_too_much(arguments: Arguments, folder: Path, report: Report) -> None:
    raise MemoryError


def map_a_file(arguments: Arguments, folder: Path, report: Report) -> dict[str, Any]:
    path = folder / "large.npy"
    rows = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=(256 * 1024**2,))
    rows[::4096] = 1
    rows.flush()
    total = int(np.load(path, mmap_mode="r")[::4096].sum())
    time.sleep(0.5)
    return {"total": total}


def loop(arguments: Arguments, folder: Path, report: Report) -> None:
    (folder / "pid").write_text(str(os.getpid()))
    while True:
        pass


def hang_in_c(arguments: Arguments, folder: Path, report: Report) -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    (folder / "pids.part").write_text(f"{os.getpid()} {other.pid}")
    (folder / "pids.part").rename(folder / "pids")
    ctypes.PyDLL(None).sleep(600)  # with the interpreter's lock held


def print_garbage(arguments: Arguments, folder: Path, report: Report) -> dict[str, Any]:
    channel = max(int(name) for name in os.listdir("/proc/self/fd") if _is_pipe(int(name)))
    for garbage in (
        b"\xff\xfe\n",
        b"[]\n",
        b"{\n",
        b'{"progress": "x", "step": 1}\n',
        b'{"progress": NaN, "step": ""}\n',
    ):
        os.write(channel, garbage)
    for _ in range(200):
        os.write(channel, b"x" * 50_000)
    os.write(channel, b"\n")
    for number in range(5_000):
        report.log(f"line {number} " + "y" * 5_000)
    report.progress(7.0, "s" * 5_000)
    return {}


def _is_pipe(descriptor: int) -> bool:
    try:
        return descriptor > 2 and os.readlink(f"/proc/self/fd/{descriptor}").startswith("pipe:")
    except OSError:
        return False


def refuse(arguments: Arguments, folder: Path, report: Report) -> None:
    raise InvalidError(
        "node 'a' is not for this", reason="PASS_DOES_NOT_APPLY", field="node a", expected="x", got="y"
    )


def fail(arguments: Arguments, folder: Path, report: Report) -> None:
    raise ValueError("a secret of the machine")


def answer_nonsense(arguments: Arguments, folder: Path, report: Report) -> dict[str, Any]:
    return {"what": object()}


def answer_too_much(arguments: Arguments, folder: Path, report: Report) -> dict[str, Any]:
    return {"what": "x" * 2_000_000}


def write_too_much(arguments: Arguments, folder: Path, report: Report) -> None:
    with (folder / "large").open("wb") as file:
        for _ in range(100):
            file.write(bytes(1024**2))


def leave_others_behind(arguments: Arguments, folder: Path, report: Report) -> dict[str, Any]:
    other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    threading.Thread(target=time.sleep, args=(600,)).start()
    return {"pid": other.pid}


def tell_limits(arguments: Arguments, folder: Path, report: Report) -> dict[str, Any]:
    names = ("RLIMIT_CPU", "RLIMIT_FSIZE", "RLIMIT_CORE")
    return {name: resource.getrlimit(getattr(resource, name))[0] for name in names}


def use_up_processor_time(arguments: Arguments, folder: Path, report: Report) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (1, hard))
    while True:
        pass
