"""The facts that a mesh's JetStream stream holds, read as they lie there."""

from __future__ import annotations

import asyncio
from collections import defaultdict

import nats

from servemesh.api.events.v1 import events_pb2
from servemesh.events.subjects import STREAM


def stored_events(nats_address: str) -> list[events_pb2.Event]:
    """Return every fact, in the order of the stream."""
    return asyncio.run(_stored_events(nats_address))


async def _stored_events(nats_address: str) -> list[events_pb2.Event]:
    client = await nats.connect(f"nats://{nats_address}")
    try:
        stream = client.jetstream()
        state = (await stream.stream_info(STREAM)).state
        stored = [await stream.get_msg(STREAM, seq=seq) for seq in range(state.first_seq, state.last_seq + 1)]
    finally:
        await client.close()
    return [events_pb2.Event.FromString(message.data or b"") for message in stored]


def revisions(events: list[events_pb2.Event]) -> dict[str, list[int]]:
    """Return the revisions of each resource, in the order of the stream."""
    found = defaultdict(list)
    for event in events:
        found[event.resource].append(event.revision)
    return dict(found)
