"""Streams of requests that are ended before their last one."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

import pytest
from google.protobuf.wrappers_pb2 import StringValue

from servemesh import errors
from servemesh.rpc.statuses import from_rpc_error
from tests.harness.served_probe import TRANSPORTS, refused, served_probe

WORD = StringValue(value="x")
CALLS, WORDS = 400, 200


@pytest.mark.parametrize("method", ["join", "chat"])
@pytest.mark.parametrize("transport", ["grpcio", "native"])
async def test_a_caller_who_still_sends_is_never_told_of_an_internal_error(
    transport: str, method: str
) -> None:
    async def words() -> AsyncIterator[StringValue]:
        for _ in range(WORDS):
            yield WORD
            await asyncio.sleep(0)

    told: Counter[tuple[str, str]] = Counter()
    async with served_probe(TRANSPORTS[transport]) as served:
        served.probe.raises = errors.InvalidError("too long", reason="TOO_LONG")
        for _ in range(CALLS):
            call = getattr(served.stub, method)(words(), timeout=20)
            error = from_rpc_error(await refused(call if method == "join" else call.read()))
            told[type(error).__name__, error.reason] += 1
    print(told)
    assert set(told) <= {("InvalidError", "TOO_LONG"), ("UnavailableError", "STATUS_LOST")}
