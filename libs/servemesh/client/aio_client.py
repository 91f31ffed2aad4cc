"""The SDK for programs that run on an event loop."""

from __future__ import annotations

import random
import time
from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from numpy.typing import ArrayLike

from servemesh.client import deployments, inference, models, results, transfers
from servemesh.client.aio_metrics import AsyncMetrics
from servemesh.client.aio_optimizer import AsyncOptimizer
from servemesh.client.attempts import DEFAULT_ADDRESS, Addresses
from servemesh.client.awaiting import AwaitingRunner
from servemesh.client.inference import Parameter
from servemesh.client.retries import RetryPolicy
from servemesh.client.streaming import AHEAD_MAX, InferRequest
from servemesh.client.sync_optimizer import CALL_S, TRANSFER_S, silent
from servemesh.client.transfers import Progress
from servemesh.errors import ServemeshError


class AsyncClient:
    """A mesh, seen by an asyncio program: `Client` with methods to await, alike in names and errors.

    Belongs to the event loop of its first call; close it when done, or use `async with`. A cancelled method
    cancels its call.
    """

    def __init__(
        self, addresses: str | Sequence[str] = DEFAULT_ADDRESS, *, retry: RetryPolicy | None = None
    ) -> None:
        listed = [addresses] if isinstance(addresses, str) else addresses
        self._runner = AwaitingRunner(Addresses(listed), retry or RetryPolicy(), random.random)
        self.optimizer = AsyncOptimizer(self._runner)
        self.metrics = AsyncMetrics(self._runner)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._runner.close()

    async def infer(
        self,
        model: str,
        inputs: Mapping[str, ArrayLike],
        *,
        version: str | int = "",
        outputs: Sequence[str] | None = None,
        parameters: Mapping[str, Parameter] | None = None,
        timeout_s: float = CALL_S,
    ) -> results.InferResult:
        """As `Client.infer`."""
        message = inference.request(model, inputs, version=version, outputs=outputs, parameters=parameters)
        return await self._runner.run(inference.infer(message), timeout_s)

    def infer_stream(
        self,
        requests: Iterable[InferRequest] | AsyncIterable[InferRequest],
        *,
        ahead_max: int = AHEAD_MAX,
        timeout_s: float | None = None,
    ) -> AsyncGenerator[results.InferResult | ServemeshError, None]:
        """As `Client.infer_stream`; close the generator (contextlib.aclosing) when leaving it early."""
        return self._runner.stream(requests, ahead_max, timeout_s)

    async def inputs(
        self, model: str, *, version: str | int = "", timeout_s: float = CALL_S
    ) -> tuple[results.Tensor, ...]:
        """As `Client.inputs`."""
        return await self._runner.run(inference.signature(model, version), timeout_s)

    async def push(
        self,
        model: str,
        path: str | Path,
        *,
        labels: Mapping[str, str] | None = None,
        on_progress: Progress = silent,
        timeout_s: float = TRANSFER_S,
    ) -> results.Version:
        """As `Client.push`."""
        operation = transfers.push(model, Path(path), labels or {}, on_progress)
        return await self._runner.run(operation, timeout_s)

    async def pull(
        self,
        model: str,
        folder: str | Path,
        *,
        version: str | int = "",
        on_progress: Progress = silent,
        timeout_s: float = TRANSFER_S,
    ) -> results.Version:
        """As `Client.pull`."""
        return await self._runner.run(transfers.pull(model, version, Path(folder), on_progress), timeout_s)

    async def models(self, *, timeout_s: float = CALL_S) -> list[results.Model]:
        """As `Client.models`."""
        return await self._runner.run(models.models(), timeout_s)

    async def versions(self, model: str, *, timeout_s: float = CALL_S) -> list[results.Version]:
        """As `Client.versions`."""
        return await self._runner.run(models.versions(model), timeout_s)

    async def remove(self, model: str, *, version: str | int = "", timeout_s: float = CALL_S) -> None:
        """As `Client.remove`."""
        await self._runner.run(models.remove(model, version), timeout_s)

    async def aliases(self, model: str, *, timeout_s: float = CALL_S) -> list[results.Alias]:
        """As `Client.aliases`."""
        return await self._runner.run(models.aliases(model), timeout_s)

    async def alias(
        self, model: str, alias: str, *, as_of: datetime | None = None, timeout_s: float = CALL_S
    ) -> results.Alias:
        """As `Client.alias`."""
        return await self._runner.run(models.alias(model, alias, as_of), timeout_s)

    async def set_alias(
        self, model: str, alias: str, version: int, *, timeout_s: float = CALL_S
    ) -> results.Alias:
        """As `Client.set_alias`."""
        return await self._runner.run(models.set_alias(model, alias, version), timeout_s)

    async def remove_alias(self, model: str, alias: str, *, timeout_s: float = CALL_S) -> None:
        """As `Client.remove_alias`."""
        await self._runner.run(models.remove_alias(model, alias), timeout_s)

    async def alias_history(
        self, model: str, alias: str, *, timeout_s: float = CALL_S
    ) -> list[results.AliasMove]:
        """As `Client.alias_history`."""
        return await self._runner.run(models.alias_history(model, alias), timeout_s)

    async def deploy(
        self,
        model: str,
        *,
        version: str | int = "",
        replicas: int | None = None,
        wait_s: float = 0.0,
        timeout_s: float = CALL_S,
    ) -> results.Deployment:
        """As `Client.deploy`."""
        operation = deployments.deploy(model, version, replicas, wait_s, time.monotonic)
        return await self._runner.run(operation, timeout_s + wait_s)

    async def undeploy(self, model: str, *, timeout_s: float = CALL_S) -> None:
        """As `Client.undeploy`."""
        await self._runner.run(deployments.undeploy(model), timeout_s)

    async def deployments(self, *, timeout_s: float = CALL_S) -> list[results.Deployment]:
        """As `Client.deployments`."""
        return await self._runner.run(deployments.deployments(), timeout_s)

    async def status(self, *, timeout_s: float = CALL_S) -> results.Status:
        """As `Client.status`."""
        return await self._runner.run(deployments.status(), timeout_s)

    async def statistics(self, *, timeout_s: float = CALL_S) -> list[results.Statistics]:
        """As `Client.statistics`."""
        return await self._runner.run(deployments.statistics(), timeout_s)
