"""Runs inside a container of the mesh: many write at two registries over one PostgreSQL, and one of them wins.

Reads the addresses of the registries and the name of a Model with two Versions from its command line, and prints how
many rounds there were, and in how many of them exactly one writer won.
"""

from __future__ import annotations

import asyncio
import json
import sys
import uuid
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import grpc

from servemesh.api.registry.v1 import registry_pb2 as pb
from servemesh.api.registry.v1 import registry_pb2_grpc as pb_grpc

ROUNDS = 25
WRITERS = 16
CALL_S = 20.0
LOST = (grpc.StatusCode.ALREADY_EXISTS, grpc.StatusCode.ABORTED, grpc.StatusCode.FAILED_PRECONDITION)

Stubs = Sequence[Any]


async def _won(call: Awaitable[Any]) -> Any:
    """Return the answer, or None if somebody else was faster."""
    try:
        return await call
    except grpc.aio.AioRpcError as error:
        if error.code() in LOST:
            return None
        raise


async def _race(stubs: Stubs, write: Callable[[Any, int], Awaitable[Any]]) -> list[Any]:
    async with asyncio.TaskGroup() as group:
        tries = [
            group.create_task(_won(write(stubs[number % len(stubs)], number))) for number in range(WRITERS)
        ]
    return [each.result() for each in tries if each.result() is not None]


async def _creations(stubs: Stubs) -> int:
    rounds_won = 0
    for _ in range(ROUNDS):
        model = f"raced-{uuid.uuid4().hex[:12]}"
        wins = await _race(
            stubs,
            lambda stub, number, model=model: stub.CreateModel(
                pb.CreateModelRequest(model_id=model, model=pb.Model(description=f"writer {number}")),
                timeout=CALL_S,
            ),
        )
        kept = [
            (await stub.GetModel(pb.GetModelRequest(name=f"models/{model}"), timeout=CALL_S)).model
            for stub in stubs
        ]
        agreed = {each.description for each in kept} == {each.model.description for each in wins}
        rounds_won += len(wins) == 1 and agreed
    return rounds_won


async def _moves(stubs: Stubs, model: str) -> int:
    rounds_won, etag, name = 0, "new", f"models/{model}/aliases/raced-{uuid.uuid4().hex[:8]}"
    for round_ in range(ROUNDS):
        version = f"models/{model}/versions/{1 + round_ % 2}"
        wins = await _race(
            stubs,
            lambda stub, _, etag=etag, version=version: stub.SetAlias(
                pb.SetAliasRequest(alias=pb.Alias(name=name, version=version, etag=etag)), timeout=CALL_S
            ),
        )
        rounds_won += len(wins) == 1
        etag = wins[0].alias.etag if wins else etag
    moves = await stubs[0].ListAliasMoves(
        pb.ListAliasMovesRequest(parent=name, page_size=1000), timeout=CALL_S
    )
    assert len(moves.alias_moves) == rounds_won, f"{len(moves.alias_moves)} moves are kept of {rounds_won}"
    return rounds_won


async def main(addresses: Sequence[str], model: str) -> None:
    """Race, and print what came of it."""
    channels = [grpc.aio.insecure_channel(address) for address in addresses]
    stubs = [pb_grpc.RegistryServiceStub(channel) for channel in channels]
    figures = {
        "rounds": ROUNDS,
        "writers": WRITERS,
        "creations_with_one_winner": await _creations(stubs),
        "moves_with_one_winner": await _moves(stubs, model),
    }
    for channel in channels:
        await channel.close()
    print(json.dumps(figures))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:-1], sys.argv[-1]))
