"""Child processes as they really run: whatever one does, its job gets a typed error and nothing is left running."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from servemesh.errors import ServemeshError
from servemesh.optimizer.adapters.child.tasks import TASKS, imported
from servemesh.optimizer.adapters.child_process import ChildProcesses, ChildSettings
from servemesh.optimizer.domain.work import WorkLimits
from tests.harness import models
from tests.harness.waiting import blocking_until, eventually

ROOT = Path(__file__).parents[2]
MIB = 1024**2
SETTINGS = ChildSettings(
    more_tasks={"test": "tests.harness.child_tasks"},
    environment={"PYTHONPATH": str(ROOT)},
    answer_bytes_max=1_000_000,
    file_bytes_max=400 * MIB,
    disk_free_bytes_min=0,
)


class Told:
    """What a child has told."""

    def __init__(self) -> None:
        self.progress: list[tuple[float, str]] = []
        self.lines: list[str] = []

    def progressed(self, share: float, step: str) -> None:
        self.progress.append((share, step))


@pytest.fixture
async def children() -> AsyncIterator[ChildProcesses]:
    async with ChildProcesses.running(SETTINGS) as running:
        yield running


async def ran(
    children: ChildProcesses,
    folder: Path,
    how: str,
    *,
    told: Told | None = None,
    time_s: float = 30.0,
    memory_bytes: int = 1024 * MIB,
    **arguments: Any,
) -> dict[str, Any]:
    told = told or Told()
    limits = WorkLimits(time_s=time_s, memory_bytes=memory_bytes, threads=1)
    given = {"how": how, **arguments}
    return await children.run("test", given, folder, limits, told.progressed, told.lines.append)


async def refused(children: ChildProcesses, folder: Path, how: str, **limits: Any) -> ServemeshError:
    with pytest.raises(ServemeshError) as failed:
        await ran(children, folder, how, **limits)
    assert str(folder) not in failed.value.message
    return failed.value


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def test_a_task_answers_and_tells_of_its_progress(children, tmp_path):
    told = Told()
    got = await ran(children, tmp_path, "answer", told=told, value={"a": [1, 2.5, None]})
    assert (got["got"], got["flags"]) == ({"a": [1, 2.5, None]}, True)
    assert told.progress[-1] == (1.0, "whole")
    assert told.lines == ["one", "two"]


async def test_a_child_sees_nothing_of_our_environment(children, tmp_path):
    got = await ran(children, tmp_path, "answer", value=0)
    assert set(got["environment"]) <= {
        *("PATH", "LANG", "LC_CTYPE", "TMPDIR", "PYTHONHASHSEED", "PYTHONPATH"),
        *("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"),
    }
    assert got["cwd"] == str(tmp_path)


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("segfault", "SIGSEGV"),
        ("abort", "SIGABRT"),
        ("leave", "without a result"),
        ("say_nothing", "without a result"),
        ("answer_too_much", "without a result"),
    ],
)
async def test_a_child_that_crashes_is_an_error_of_its_job(children, tmp_path, how, words):
    error = await refused(children, tmp_path, how)
    assert (error.reason, words in error.message) == ("PASS_CRASHED", True)


@pytest.mark.parametrize("how", ["fail", "exit_in_python", "answer_nonsense"])
async def test_an_error_that_is_not_ours_keeps_its_text_on_the_machine(children, tmp_path, caplog, how):
    error = await refused(children, tmp_path, how)
    assert error.reason == "INTERNAL"
    assert "secret" not in error.message
    (record,) = [record for record in caplog.records if record.message == "child.ended_badly"]
    assert "Traceback" in record.detail


async def test_a_typed_error_arrives_as_it_was_raised(children, tmp_path):
    error = await refused(children, tmp_path, "refuse")
    assert (type(error).__name__, error.reason, error.message) == (
        "InvalidError",
        "PASS_DOES_NOT_APPLY",
        "node 'a' is not for this",
    )
    assert error.metadata == {"field": "node a", "expected": "x", "got": "y"}


@pytest.mark.parametrize("how", ["eat_memory", "let_another_eat_memory"])
async def test_memory_is_bounded_over_all_that_a_child_starts(children, tmp_path, how):
    error = await refused(children, tmp_path, how, memory_bytes=200 * MIB)
    assert (error.reason, error.metadata["expected"]) == ("MEMORY_EXCEEDED", "at most 200 MiB")


async def test_memory_that_python_cannot_get_is_the_same_error(children, tmp_path):
    assert (await refused(children, tmp_path, "ask_for_too_much")).reason == "MEMORY_EXCEEDED"


async def test_a_mapped_file_is_not_memory(children, tmp_path):
    assert (await ran(children, tmp_path, "map_a_file", memory_bytes=200 * MIB))["total"] == 65536


async def test_a_child_that_loops_is_stopped_when_its_time_is_over(children, tmp_path):
    error = await refused(children, tmp_path, "loop", time_s=1.0)
    assert (error.reason, error.metadata["expected"]) == ("TIME_EXCEEDED", "at most 1 s")
    await eventually(lambda: not is_alive(int((tmp_path / "pid").read_text())), timeout_s=20.0)


async def test_processor_time_and_files_are_bounded_by_the_kernel(children, tmp_path):
    limits = {"RLIMIT_CPU": 90, "RLIMIT_FSIZE": SETTINGS.file_bytes_max, "RLIMIT_CORE": 0}
    assert await ran(children, tmp_path, "tell_limits", time_s=89.5) == limits
    error = await refused(children, tmp_path, "use_up_processor_time")
    assert (error.reason, "processor time" in error.message) == ("TIME_EXCEEDED", True)


async def test_a_file_that_grows_too_large_is_an_error_of_the_job(tmp_path):
    async with ChildProcesses.running(replace(SETTINGS, file_bytes_max=10 * MIB)) as children:
        assert (await refused(children, tmp_path, "write_too_much")).reason == "DISK_FULL"


async def test_a_disk_that_gets_full_stops_the_child(tmp_path):
    async with ChildProcesses.running(replace(SETTINGS, disk_free_bytes_min=2**62)) as children:
        assert (await refused(children, tmp_path, "loop")).reason == "DISK_FULL"


async def test_garbage_and_floods_are_passed_over(children, tmp_path):
    told = Told()
    await ran(children, tmp_path, "print_garbage", told=told)
    assert len(told.lines) == 2_000
    assert told.lines[0].startswith("line 0 ")
    assert max(map(len, told.lines)) == 1_000
    assert told.lines[-1].startswith("more lines")
    assert [(share, len(step)) for share, step in told.progress] == [(1.0, 200)]


async def test_a_cancelled_child_is_dead_with_all_it_started_within_two_seconds(children, tmp_path):
    async with asyncio.TaskGroup() as group:
        running = group.create_task(ran(children, tmp_path, "hang_in_c"))
        await eventually((tmp_path / "pids").exists, timeout_s=20.0)
        begun_s = time.monotonic()
        running.cancel()
        await asyncio.wait([running])
        await eventually(lambda: not any(is_alive(pid) for pid in pids(tmp_path)), timeout_s=20.0)
    assert running.cancelled()
    assert time.monotonic() - begun_s < 2.0, "the promise that users have"


async def test_what_a_child_leaves_running_ends_with_it(children, tmp_path):
    pid = (await ran(children, tmp_path, "leave_others_behind"))["pid"]
    await eventually(lambda: not is_alive(pid), timeout_s=20.0)


async def test_children_wait_for_a_place(tmp_path):
    folders = [tmp_path / str(number) for number in range(3)]
    for folder in folders:
        folder.mkdir()
    async with ChildProcesses.running(replace(SETTINGS, processes_max=1)) as children:
        async with asyncio.TaskGroup() as group:
            first = group.create_task(ran(children, folders[0], "hang_in_c"))
            await eventually((folders[0] / "pids").exists, timeout_s=20.0)
            second = group.create_task(ran(children, folders[1], "hang_in_c"))
            third = group.create_task(ran(children, folders[2], "answer", value=3))
            second.cancel()
            first.cancel()
        assert third.result()["got"] == 3
    assert not (folders[1] / "request.json").exists()


async def test_an_unknown_task_is_refused(children, tmp_path):
    limits = WorkLimits(time_s=30.0, memory_bytes=1024 * MIB, threads=1)
    with pytest.raises(ServemeshError) as failed:
        await children.run("dance", {}, tmp_path, limits, print, print)
    assert failed.value.reason == "TASK_UNKNOWN"


def test_every_task_of_the_table_has_its_function():
    assert [task for task in TASKS if not callable(imported(task, {}))] == []


async def test_a_real_pass_runs_in_a_child(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "model.onnx").write_bytes(models.mlp().SerializeToString())
    arguments = {
        "pass": "fp16",
        "parameters": {},
        "model": "in/model.onnx",
        "out": "out/model.onnx",
        "data": None,
        "seed": 0,
        "threads": 1,
        "teacher": None,
    }
    limits = WorkLimits(time_s=60.0, memory_bytes=2048 * MIB, threads=1)
    async with ChildProcesses.running(ChildSettings(disk_free_bytes_min=0)) as children:
        answer = await children.run("pass", arguments, tmp_path, limits, Told().progressed, print)
    assert answer["libraries"]
    assert (tmp_path / "out" / "model.onnx").stat().st_size > 0
    assert not (tmp_path / "tmp").exists()


def test_kill_9_of_the_parent_ends_the_child_and_what_it_started(tmp_path):
    program = f"""
import asyncio, uvloop
from pathlib import Path
from servemesh.optimizer.adapters.child_process import ChildProcesses, ChildSettings
from servemesh.optimizer.domain.work import WorkLimits

async def main():
    settings = ChildSettings(more_tasks={SETTINGS.more_tasks!r}, environment={SETTINGS.environment!r})
    async with ChildProcesses.running(settings) as children:
        limits = WorkLimits(time_s=60.0, memory_bytes=2**30, threads=1)
        await children.run("test", {{"how": "hang_in_c"}}, Path({str(tmp_path)!r}), limits, print, print)

uvloop.run(main())
"""
    parent = subprocess.Popen([sys.executable, "-c", program])
    try:
        blocking_until((tmp_path / "pids").exists, timeout_s=30.0)
    finally:
        os.kill(parent.pid, signal.SIGKILL)
        parent.wait()
    blocking_until(lambda: not any(is_alive(pid) for pid in pids(tmp_path)), timeout_s=20.0)


def pids(folder: Path) -> list[int]:
    return [int(pid) for pid in (folder / "pids").read_text().split()]
