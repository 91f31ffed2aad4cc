"""grpc.health.v1: whether this process, and each service in it, takes calls now."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from grpc_health.v1 import health_pb2 as pb
from grpc_health.v1 import health_pb2_grpc as pb_grpc

from servemesh.errors import MissingError, OverloadedError

SERVICE = "grpc.health.v1.Health"
_Status = pb.HealthCheckResponse
_SERVING, _NOT_SERVING, _UNKNOWN = _Status.SERVING, _Status.NOT_SERVING, _Status.SERVICE_UNKNOWN


class Health(pb_grpc.HealthServicer):
    """The state of each service by name; "" is the whole process and starts NOT_SERVING."""

    def __init__(self, *, watchers_max: int = 1_000) -> None:
        self._watchers_max = watchers_max
        self._statuses: dict[str, int] = {"": _NOT_SERVING}
        self._watchers: set[asyncio.Event] = set()
        self._closed = False
        self._ended = False

    def set(self, service: str, serving: bool) -> None:
        """Say whether `service` takes calls. Once the server drains, nothing is SERVING again."""
        self._change(service, _SERVING if serving and not self._closed else _NOT_SERVING)

    def remove(self, service: str) -> None:
        """Forget `service`: Check answers NOT_FOUND, Watch SERVICE_UNKNOWN."""
        if self._statuses.pop(service, None) is not None:
            self._wake()

    def is_serving(self, service: str = "") -> bool:
        """Whether `service` is SERVING now."""
        return self._statuses.get(service) == _SERVING

    def drain(self) -> None:
        """Turn everything NOT_SERVING, for good."""
        self._closed = True
        self._statuses = dict.fromkeys(self._statuses, _NOT_SERVING)
        self._wake()

    def end(self) -> None:
        """End every watch, so that none holds up a stop."""
        self._ended = True
        self._wake()

    def register(self, server: Any) -> None:
        """Add the service to a server."""
        pb_grpc.add_HealthServicer_to_server(self, server)

    async def Check(self, request: pb.HealthCheckRequest, context: Any) -> pb.HealthCheckResponse:
        status = self._statuses.get(request.service)
        if status is None:
            raise MissingError(
                f"no service {request.service[:200]!r} here",
                reason="SERVICE_UNKNOWN",
                service=request.service[:200],
            )
        return pb.HealthCheckResponse(status=status)

    async def List(self, request: pb.HealthListRequest, context: Any) -> pb.HealthListResponse:
        statuses = {name: pb.HealthCheckResponse(status=status) for name, status in self._statuses.items()}
        return pb.HealthListResponse(statuses=statuses)

    async def Watch(
        self, request: pb.HealthCheckRequest, context: Any
    ) -> AsyncIterator[pb.HealthCheckResponse]:
        if len(self._watchers) >= self._watchers_max:
            raise OverloadedError(
                f"{self._watchers_max} watchers, the limit",
                reason="HEALTH_WATCHERS",
                retry_after_s=1.0,
                watchers_max=self._watchers_max,
            )
        changed = asyncio.Event()
        self._watchers.add(changed)
        try:
            told = None
            while True:
                changed.clear()
                status = self._statuses.get(request.service, _UNKNOWN)
                if status != told:
                    yield pb.HealthCheckResponse(status=status)
                    told = status
                elif self._ended:
                    return
                else:
                    await changed.wait()
        finally:
            self._watchers.discard(changed)

    def _change(self, service: str, status: int) -> None:
        if self._statuses.get(service) != status:
            self._statuses[service] = status
            self._wake()

    def _wake(self) -> None:
        for watcher in self._watchers:
            watcher.set()
