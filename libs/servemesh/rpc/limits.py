"""The bounds that a server keeps for every call, whoever sends it."""

from __future__ import annotations

from dataclasses import dataclass

MESSAGE_BYTES_MAX = 64 * 1024 * 1024
DEADLINE_S_DEFAULT = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one server takes. Reaching a bound is RESOURCE_EXHAUSTED, a deadline DEADLINE_EXCEEDED."""

    message_bytes_max: int = MESSAGE_BYTES_MAX
    metadata_bytes_max: int = 16 * 1024
    calls_max: int = 8_192  # in flight at once, health checks and reflection not counted
    deadline_s_default: float = DEADLINE_S_DEFAULT  # of a unary call whose client gave none
    deadline_s_max: float = 300.0  # of a unary call, whatever its client gave; streams have none
    takes_gzip: bool = (
        False  # for servers of protocols whose clients compress; others refuse what could be a bomb
    )
    drain_wait_s: float = 0.0  # between NOT_SERVING and the first refusal: load balancers look away first
