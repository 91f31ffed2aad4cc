"""Questions to child processes, on the event loops that services run on, in a process that speaks gRPC."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import grpc
import psutil
import pytest
import uvloop

from servemesh import child
from tests.harness.faults import is_alive
from tests.harness.waiting import blocking_until, eventually

Run = Callable[[Coroutine[Any, Any, Any]], Any]

CHILDREN = 100
CALLERS = 8


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Iterator[Run]:
    """Run a coroutine on the loop that services use, or on asyncio's own."""
    with asyncio.Runner(loop_factory=request.param) as runner:
        yield runner.run


def python(program: str) -> list[str]:
    return [sys.executable, "-c", program]


def is_written(path: Path, words: int) -> bool:
    return path.exists() and path.read_text().count(" ") == words


def held() -> tuple[list[str], set[int]]:
    """Return what is open in this process, and its children that live."""
    children = {found.pid for found in psutil.Process().children() if is_alive(found.pid)}
    return sorted(os.listdir("/proc/self/fd")), children


def test_a_child_answers_a_question_that_is_longer_than_a_pipe(run: Run) -> None:
    question = os.urandom(1 << 20)
    reply = run(child.asked(["/bin/cat"], question, timeout_s=20, answer_bytes_max=1 << 20))
    assert reply == child.Reply(status=0, answer=question, last_words="")


def test_an_answer_that_is_too_long_is_none(run: Run) -> None:
    reply = run(child.asked(["/bin/cat"], bytes(101), timeout_s=20, answer_bytes_max=100))
    assert reply.answer == b""


def test_a_child_that_says_too_much_is_ended(run: Run) -> None:
    reply = run(child.asked(["/usr/bin/yes"], timeout_s=600, answer_bytes_max=100_000))
    assert reply == child.Reply(status=-signal.SIGKILL, answer=b"", last_words="")


def test_the_last_words_and_the_status_of_a_child_are_kept(run: Run) -> None:
    program = f"import sys; sys.stderr.write({2 * child.LAST_WORDS_BYTES} * 'a' + 'the end'); sys.exit(3)"
    reply = run(child.asked(python(program), timeout_s=20))
    assert reply.status == 3
    assert len(reply.last_words) == child.LAST_WORDS_BYTES
    assert reply.last_words.endswith("the end")


def test_a_command_that_is_not_there_is_told(run: Run) -> None:
    with pytest.raises(FileNotFoundError):
        run(child.asked(["/no/such/program"], timeout_s=20))


def test_a_child_ends_with_whoever_asked_and_so_does_what_it_started(run: Run, tmp_path: Path) -> None:
    told = tmp_path / "pids"
    program = (
        f"import os, time; os.fork(); open({str(told)!r}, 'a').write(f'{{os.getpid()}} '); time.sleep(600)"
    )

    async def main() -> None:
        asking = asyncio.create_task(child.asked(python(program), timeout_s=600))
        await eventually(lambda: is_written(told, words=2))
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking

    run(main())
    blocking_until(lambda: not any(map(is_alive, map(int, told.read_text().split()))), 10)


def test_a_child_that_is_late_is_ended(run: Run) -> None:
    async def late() -> None:
        with pytest.raises(TimeoutError):
            await child.asked(["/bin/sleep", "600"], timeout_s=0.1)

    run(late())
    before = held()
    run(late())
    assert held() == before


def test_a_grandchild_that_keeps_the_pipes_holds_nobody_up(run: Run, tmp_path: Path) -> None:
    told = tmp_path / "pid"
    program = f"setsid sh -c 'echo -n \"$$ \" > {told}; exec sleep 600' & until [ -s {told} ]; do :; done; echo done"
    try:
        reply = run(child.asked(["/bin/sh", "-c", program], timeout_s=60, answer_bytes_max=100))
    finally:
        os.kill(int(told.read_text()), signal.SIGKILL)
    assert (reply.status, reply.answer) == (0, b"done\n")


def test_nothing_is_left_open_whenever_a_question_is_taken_back(run: Run) -> None:
    async def taken_back(after: int) -> None:
        asking = asyncio.create_task(child.asked(["/bin/cat"], b"x", timeout_s=20, answer_bytes_max=10))
        for _ in range(after):
            await asyncio.sleep(0)
        asking.cancel()
        with suppress(asyncio.CancelledError):
            await asking

    async def main() -> None:
        await taken_back(0)
        before = held()
        for after in range(30):
            await taken_back(after)
        assert held() == before

    run(main())


def test_a_question_that_cannot_be_asked_is_an_error_and_leaves_nothing_open(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(pid: int) -> int:
        raise PermissionError(errno.EPERM, "not here")

    monkeypatch.setattr(os, "pidfd_open", refused)
    before = held()
    with pytest.raises(PermissionError, match="not here"):
        run(child.asked(["/bin/sleep", "600"], timeout_s=20))
    blocking_until(lambda: held() == before)


@asynccontextmanager
async def busy_with_grpc() -> AsyncIterator[None]:
    """Serve and call over gRPC for the length of the block, so that its threads are at work."""

    async def echo(content: bytes, _: Any) -> bytes:
        return content

    methods = {"Echo": grpc.unary_unary_rpc_method_handler(echo)}
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Test", methods),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    over = asyncio.Event()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel, asyncio.TaskGroup() as group:
        call = channel.unary_unary("/test.Test/Echo")

        async def caller() -> None:
            while not over.is_set():
                await call(b"")

        for _ in range(CALLERS):
            group.create_task(caller())
        try:
            yield
        finally:
            over.set()
    await server.stop(None)


def test_children_of_a_process_that_is_busy_with_grpc_live(run: Run) -> None:
    async def main() -> set[int]:
        async with busy_with_grpc():
            return {(await child.asked(["/bin/true"], timeout_s=20)).status for _ in range(CHILDREN)}

    assert run(main()) == {0}
