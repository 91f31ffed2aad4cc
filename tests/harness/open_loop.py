"""Calls that start when they are due, however many are under way, against an edge of tests."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import grpc

from tests.harness.edge import Edge

Until = Callable[[Sequence["Ended"]], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """One call that has ended: when, on the monotonic clock, by whom it was answered, or with which code."""

    start_s: float
    end_s: float
    by: str = ""
    code: grpc.StatusCode = grpc.StatusCode.OK

    @property
    def is_ok(self) -> bool:
        """Whether it was answered."""
        return self.code is grpc.StatusCode.OK


async def open_loop(edge: Edge, *, rate_per_s: float, until: Until) -> Sequence[Ended]:
    """Call ModelInfer at a fixed rate until told to stop; return the calls when all have ended."""
    calls: list[Ended] = []

    async def one() -> None:
        start_s = time.monotonic()
        try:
            by = await edge.answered_by(timeout_s=20.0)
        except grpc.aio.AioRpcError as error:
            calls.append(Ended(start_s=start_s, end_s=time.monotonic(), code=error.code()))
        else:
            calls.append(Ended(start_s=start_s, end_s=time.monotonic(), by=by))

    due_s = time.monotonic()
    async with asyncio.TaskGroup() as group:
        while not until(calls):
            group.create_task(one())
            due_s += 1.0 / rate_per_s
            await asyncio.sleep(max(0.0, due_s - time.monotonic()))
    return calls


def after(length_s: float) -> Until:
    """Return what says when so much time has passed."""
    end_s = time.monotonic() + length_s
    return lambda calls: time.monotonic() >= end_s


def answered(count: int, *, within_s: float) -> Until:
    """Return what says when so many calls were answered, or that they never will be."""
    is_late = after(within_s)
    return lambda calls: sum(call.is_ok for call in calls) >= count or is_late(calls)
