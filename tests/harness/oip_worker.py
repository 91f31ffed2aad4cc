"""A worker that answers ModelInfer with who it is and what it was told, in this process or in one of its own."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc

from servemesh.api.oip.v2 import inference_pb2 as pb
from servemesh.rpc.edge import LONG
from servemesh.rpc.health import Health
from servemesh.rpc.limits import Limits
from servemesh.rpc.options import server_options

SERVICE = "inference.GRPCInferenceService"
LONG_BYTES = 64 * 1024


class OipWorker:
    """Echoes: `id` of the answer is the worker's name, its parameters are the headers that the edge added.

    To a call whose id is "half NAME" the worker of that name gives LONG_BYTES of an answer, and not its end; to one
    whose id is "long half NAME" too, with the header of a long answer.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.address = ""
        self.calls = 0
        self.ends: grpc.StatusCode | None = None  # of every call, instead of an answer
        self.takes_s = 0.0  # for every call, one after the other
        self.health = Health()
        self._turn = asyncio.Lock()
        self.release = asyncio.Event()  # a call whose id is "wait" is answered once this is set
        self.waiting = asyncio.Event()  # such a call has come
        self._server = grpc.aio.server(options=server_options(Limits(message_bytes_max=128 << 20)))

    async def start(self, address: str = "127.0.0.1:0") -> None:
        """Serve, on a free port unless told otherwise."""
        methods = {
            # As a stream of one answer, which is the same on the wire, and can stop in the middle.
            "ModelInfer": grpc.unary_stream_rpc_method_handler(self._infer),
            "ServerLive": grpc.unary_unary_rpc_method_handler(self._live),
            "ModelStreamInfer": grpc.stream_stream_rpc_method_handler(self._echo),
        }
        for service in (SERVICE, "servemesh.api.registry.v1.RegistryService"):
            self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, methods),))
        self.health.set("", True)
        self.health.register(self._server)
        self.address = f"127.0.0.1:{self._server.add_insecure_port(address)}"
        await self._server.start()

    async def stop(self) -> None:
        """End at once."""
        await self._server.stop(0)

    async def wait(self) -> None:
        """Serve until the server ends."""
        await self._server.wait_for_termination()

    async def _infer(self, content: bytes, context: Any) -> AsyncIterator[bytes]:
        self.calls += 1
        request = pb.ModelInferRequest.FromString(content)
        if self.ends is not None:
            await context.abort(self.ends, "as asked")
        if self.takes_s:
            async with self._turn:
                await asyncio.sleep(self.takes_s)
        if request.id == "wait":
            self.waiting.set()
            await self.release.wait()
        if request.id in grpc.StatusCode.__members__:  # the call is to end so
            await context.abort(grpc.StatusCode[request.id], "as asked")
        answer = pb.ModelInferResponse(
            model_name=request.model_name, model_version=request.model_version, id=self.name
        )
        for key, value in context.invocation_metadata():
            if key.startswith(("x-servemesh", "traceparent")):
                answer.parameters[key].string_param = value
        is_half = request.id.endswith(f"half {self.name}")
        if is_half:
            answer.parameters["long"].string_param = LONG_BYTES * "x"
        if request.id.startswith("long"):
            await context.send_initial_metadata(LONG)
        yield answer.SerializeToString()
        if is_half:
            await self.release.wait()

    async def _live(self, content: bytes, context: Any) -> bytes:
        return pb.ServerLiveResponse(live=True).SerializeToString()

    async def _echo(self, requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        async for request in requests:
            yield request


@asynccontextmanager
async def oip_worker(name: str) -> AsyncIterator[OipWorker]:
    """Run a worker in this process."""
    worker = OipWorker(name)
    await worker.start()
    try:
        yield worker
    finally:
        worker.release.set()
        await worker.stop()


async def _main(name: str, address: str) -> None:
    worker = OipWorker(name)
    await worker.start(address)
    await worker.wait()


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1], sys.argv[2]))
