"""Channels that notice a hung peer, and calls that never outlive their deadline or their caller."""

from __future__ import annotations

from typing import Any
from weakref import WeakSet

import grpc

from servemesh.errors import ExpiredError
from servemesh.observe import metrics, names, traces
from servemesh.rpc.calls import NEVER_S
from servemesh.rpc.limits import DEADLINE_S_DEFAULT, MESSAGE_BYTES_MAX
from servemesh.rpc.options import channel_options
from servemesh.rpc.statuses import from_rpc_error

MARGIN = 0.05  # of the time left, kept back for the answer's way home
_channels: WeakSet[grpc.aio.Channel] = WeakSet()
Metadata = tuple[tuple[str, str | bytes], ...]


def channel(address: str, *, message_bytes_max: int = MESSAGE_BYTES_MAX) -> grpc.aio.Channel:
    """Return a channel to `address`. Keep it for the life of the process; close it when done."""
    made = grpc.aio.insecure_channel(
        address, options=channel_options(message_bytes_max), compression=grpc.Compression.NoCompression
    )
    _channels.add(made)
    metrics.gauge(names.PROCESS_CHANNELS).set_function(lambda: len(_channels))
    return made


def remaining_s(
    context: Any, *, margin: float = MARGIN, deadline_s_default: float = DEADLINE_S_DEFAULT
) -> float:
    """Return the seconds left for calls made on behalf of `context`, less a margin (a share from 0 to 1).

    A call without a deadline counts as having `deadline_s_default` left, which is what its server gives it.
    """
    left_s = context.time_remaining()
    if left_s is None or left_s > NEVER_S:
        left_s = deadline_s_default
    return max(0.0, left_s * (1 - margin))


async def call(method: Any, request: Any, *, timeout_s: float, metadata: Metadata = ()) -> Any:
    """Make one unary call (`method` as in `stub.GetModel`) and return its response.

    It carries the current trace, ends within `timeout_s`, and is cancelled when the caller is.
    Raises the typed error that the server raised.
    """
    if timeout_s <= 0:
        raise ExpiredError("the deadline passed before the call was made", reason="DEADLINE_EXCEEDED")
    pending = method(request, timeout=timeout_s, metadata=(*traces.headers(), *metadata))
    try:
        return await pending
    except grpc.aio.AioRpcError as error:
        raise from_rpc_error(error) from error
    finally:
        pending.cancel()  # a call that nobody awaits lives as long as its channel
