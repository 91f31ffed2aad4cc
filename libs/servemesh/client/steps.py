"""What an operation of the SDK asks of the client that runs it, so that it is written once for both clients.

An operation is a generator. It yields a step, and gets the step's result back or its error raised at the
`yield`. `Client` carries steps out by blocking, `AsyncClient` by awaiting.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeVar

from google.protobuf import message_factory
from google.protobuf.message import Message

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One unary call; the result is its response. Sent again while the mesh says UNAVAILABLE."""

    request: Message


@dataclass(frozen=True, slots=True, kw_only=True)
class Send:
    """One client stream; the result is its response. Not sent again: the operation knows where to go on."""

    request_type: type[Message]
    requests: Callable[[], Iterator[Message]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Receive:
    """One server stream, each response handed to `take`. Not sent again."""

    request: Message
    take: Callable[[Any], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """Something slow on this machine, such as reading files; the result is what it returns."""

    work: Callable[[], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """Let some time pass."""

    pause_s: float


Step = Call | Send | Receive | Work | Pause
Operation = Generator[Step, Any, T]


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """One RPC of a service."""

    path: str
    response_type: type[Message]


@lru_cache(maxsize=256)
def method_of(request_type: type[Message]) -> Method:
    """Return the RPC that takes `request_type`; the first in its file, should there be two."""
    descriptor = request_type.DESCRIPTOR
    for service in descriptor.file.services_by_name.values():
        for method in service.methods:
            if method.input_type is descriptor:
                return Method(
                    path=f"/{service.full_name}/{method.name}",
                    response_type=message_factory.GetMessageClass(method.output_type),
                )
    raise LookupError(f"no RPC takes {descriptor.full_name}")
