"""Asks a server again and again how it is, from a process of its own: `python -m tests.harness.health_prober ADDRESS`.

Prints how long each answer took, as a JSON list of seconds, when stdin ends.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

PAUSE_S = 0.02
ANSWER_S = 5.0


@asynccontextmanager
async def probing(address: str) -> AsyncIterator[list[float]]:
    """Probe for the length of the block; after it the list holds how long answers took, in seconds."""
    took_s: list[float] = []
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        probing.__module__,
        address,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        yield took_s
        printed, _ = await process.communicate(b"")  # which ends its stdin
        took_s += json.loads(printed)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def main() -> None:
    """Probe until stdin ends."""
    json.dump(asyncio.run(_probed(sys.argv[1])), sys.stdout)


async def _probed(address: str) -> list[float]:
    took_s = []
    over = asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    async with grpc.aio.insecure_channel(address) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        while not over.done() or not took_s:
            start_s = time.monotonic()
            await health.Check(health_pb2.HealthCheckRequest(), timeout=ANSWER_S)
            took_s.append(time.monotonic() - start_s)
            await asyncio.sleep(PAUSE_S)
    return took_s


if __name__ == "__main__":
    main()
