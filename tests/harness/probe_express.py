"""The unary methods of a Probe on express lanes: what a server promises holds there too."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from google.protobuf.message import DecodeError
from google.protobuf.wrappers_pb2 import StringValue

from servemesh.rpc.express import ExpressCall, ExpressHandler, Metadata
from tests.harness.probe import SERVICE, Probe


class ProbeExpress:
    """Answers one method by a task of its own, which the call's end cancels."""

    def __init__(self, method: Callable[[StringValue, Any], Awaitable[Any]]) -> None:
        self._method = method
        self._tasks: set[asyncio.Task[bytes]] = set()

    def recognise(self, payload: bytes, metadata: Metadata) -> Any:
        """Return the request; None for bytes that are no message."""
        try:
            return StringValue.FromString(payload)
        except (DecodeError, UnicodeDecodeError):
            return None

    def run(self, call: ExpressCall, recognised: Any) -> None:
        """Begin the method."""
        task = asyncio.get_running_loop().create_task(self._encoded(recognised))
        self._tasks.add(task)
        task.add_done_callback(lambda task: self._ended(call, task))
        call.on_left = task.cancel

    async def _encoded(self, request: StringValue) -> bytes:
        return (await self._method(request, None)).SerializeToString()

    def _ended(self, call: ExpressCall, task: asyncio.Task[bytes]) -> None:
        self._tasks.discard(task)
        if task.cancelled():
            call.cancel()
        elif error := task.exception():
            call.fail(error)
        else:
            call.answer(task.result())


def express(probe: Probe) -> dict[str, ExpressHandler]:
    """Return a lane for each unary method."""
    methods = {"Echo": probe.echo, "Hold": probe.hold, "Grow": probe.grow}
    return {f"/{SERVICE}/{name}": ProbeExpress(method) for name, method in methods.items()}
