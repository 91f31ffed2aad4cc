"""Finds a worker that answers for a model, and has the model loaded where nobody holds it yet."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass

from servemesh import oip
from servemesh.errors import ExpiredError, MissingError, OverloadedError, ServemeshError, UnavailableError
from servemesh.gateway.domain import activation
from servemesh.gateway.domain.fleet import Fleet, Holding, SlotState
from servemesh.gateway.service.fleet_view import FleetView
from servemesh.gateway.service.ports import Catalog, Workers
from servemesh.lifecycle import background
from servemesh.observe import names, traces

Key = tuple[str, str]
NO_WORKERS = "NO_WORKERS"


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivationLimits:
    """Bounds of waiting for models that nobody holds."""

    waiting_calls_max: int = 1024
    waiting_bytes_max: int = 512 * 1024 * 1024
    ask_interval_s: float = 1.0  # a wish that has not come true is repeated after this long
    ask_timeout_s: float = 5.0
    unknown_ttl_s: float = 1.0  # how long "there is no such model" and "there is no worker" are believed
    unknown_max: int = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """What the registry said when a Version was demanded, and until when that is believed."""

    error: ServemeshError
    until_s: float


class Activator:
    """Answers "who can run this call", at once or after a load that it asks for itself."""

    def __init__(
        self, fleet: FleetView, workers: Workers, catalog: Catalog, limits: ActivationLimits
    ) -> None:
        self._view = fleet
        self._workers = workers
        self._catalog = catalog
        self._limits = limits
        self._waiting_calls = 0
        self._waiting_bytes = 0
        self._asked_s: dict[Key, float] = {}
        self._waiters: dict[Key, int] = {}
        self._refusals: OrderedDict[Key, Refusal] = OrderedDict()

    async def holdings(self, model: str, version: str, *, size_bytes: int = 0) -> tuple[Holding, ...]:
        """Return the READY holders of a model, at least one; wait for them as long as the caller does.

        `size_bytes` is what the waiting call keeps in memory. MissingError if nobody knows the model,
        OverloadedError if too much waits already, UnavailableError if it cannot be loaded or nobody is there to.
        """
        ready = self._view.fleet.holdings(model, version, states=(SlotState.READY,))
        if ready:
            return ready
        self._admit(model, size_bytes)
        key = (model, version)
        self._waiters[key] = self._waiters.get(key, 0) + 1
        try:
            with traces.span(names.SPAN_ACTIVATION, model=model, version=version):
                return await self._awaited(key)
        finally:
            self._waiting_calls -= 1
            self._waiting_bytes -= size_bytes
            self._waiters[key] -= 1
            if not self._waiters[key]:
                del self._waiters[key]
                self._asked_s.pop(key, None)

    def expect(self, model: str) -> None:
        """The model was deployed just now: it does not count as unknown, whatever was heard before."""
        self._refusals.pop((model, ""), None)

    def _admit(self, model: str, size_bytes: int) -> None:
        limits = self._limits
        if (
            self._waiting_calls >= limits.waiting_calls_max
            or self._waiting_bytes + size_bytes > limits.waiting_bytes_max
        ):
            raise OverloadedError(
                f"too many calls wait for models to be loaded, '{model}' among them: at most "
                f"{limits.waiting_calls_max} calls and {limits.waiting_bytes_max} bytes; try again shortly",
                reason="ACTIVATION_QUEUE_FULL",
                retry_after_s=1.0,
                model=model,
            )
        self._waiting_calls += 1
        self._waiting_bytes += size_bytes

    async def _awaited(self, key: Key) -> tuple[Holding, ...]:
        """Wait for holders while the wish is stated: it may come true before those who were asked have answered."""
        async with background(lambda: self._keep_asking(key)):
            fleet = self._view.fleet
            while not (ready := fleet.holdings(*key, states=(SlotState.READY,))):
                fleet = await self._view.changed_from(fleet.revision)
            return ready

    async def _keep_asking(self, key: Key) -> None:
        while True:
            fleet = self._view.fleet
            if not fleet.is_ready(*key):
                await self._ask(key, fleet)
            with suppress(TimeoutError):
                async with asyncio.timeout(self._limits.ask_interval_s):
                    await self._view.changed_from(fleet.revision)

    async def _ask(self, key: Key, fleet: Fleet) -> None:
        """Let one of the waiting callers state the wish; the others wait for what comes of it."""
        now = asyncio.get_running_loop().time()
        wish = activation.wish(fleet, *key)
        if wish.hopeless:
            raise self._for_later(oip.not_ready(*key, wish.hopeless))
        is_asked = now - self._asked_s.get(key, float("-inf")) < self._limits.ask_interval_s
        refusal = self._refusals.get(key)
        if wish.is_unheard_of and refusal is not None and (is_asked or refusal.until_s > now):
            raise refusal.error.with_traceback(None)
        if wish.is_under_way or is_asked:
            return
        self._asked_s[key] = now
        if wish.load is not None:
            await self._load(wish.load)
        else:
            await self._demand(key)

    async def _demand(self, key: Key) -> None:
        try:
            await self._catalog.demand(*key, timeout_s=self._limits.ask_timeout_s)
        except MissingError:
            error: ServemeshError = oip.unknown_model(*key)
        except UnavailableError as unavailable:
            error = self._for_later(unavailable)
            if unavailable.reason != NO_WORKERS:
                raise
        else:
            self._refusals.pop(key, None)
            return
        self._remember(key, error)
        raise error from None

    async def _load(self, holding: Holding) -> None:
        try:
            await self._workers.load_slot(
                holding.worker.address,
                holding.slot.model,
                holding.slot.version_id,
                timeout_s=self._limits.ask_timeout_s,
            )
        except (MissingError, UnavailableError, ExpiredError):
            # The worker has changed its mind, died, or is at it for longer: the fleet will say so, look again.
            return

    def _for_later(self, error: UnavailableError) -> UnavailableError:
        """Say in `error` when to come back: Envoy then neither tries it elsewhere nor holds it against us."""
        error.retry_after_s = error.retry_after_s or self._limits.ask_interval_s
        return error

    def _remember(self, key: Key, error: ServemeshError) -> None:
        until_s = asyncio.get_running_loop().time() + self._limits.unknown_ttl_s
        self._refusals[key] = Refusal(error=error, until_s=until_s)
        self._refusals.move_to_end(key)
        while len(self._refusals) > self._limits.unknown_max:
            self._refusals.popitem(last=False)
