"""Makes what is resident follow what is assigned and demanded: one task per slot, from load to unload."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

from servemesh.errors import ServemeshError
from servemesh.observe import names
from servemesh.worker.domain.residency import planned
from servemesh.worker.domain.slots import NEVER_S, Slot, SlotState, backoff_s
from servemesh.worker.service.changes import awoken
from servemesh.worker.service.loading import Loader, WarmModel, too_large
from servemesh.worker.service.residency import Residency
from servemesh.worker.service.slots import ReadySlot

# Trying again cannot help: the same bytes meet the same limit.
FINAL_REASONS = frozenset({"CRASHED_WORKER", "MODEL_TOO_LARGE"})
# Nobody tells when a slot has no calls in flight any more, and could make room.
IDLE_LOOK_S = 0.05

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconcilePolicy:
    """Bounds and waits of loading and unloading."""

    memory_bytes_max: int
    loads_max: int = 4
    retry_first_s: float = 0.5
    retry_longest_s: float = 60.0
    drain_wait_s: float = 1.0  # a removed slot still answers so long: gateways look away first
    evict_wait_s: float = 0.25  # the same for a slot that makes room for one that callers wait for
    drain_timeout_s: float = 30.0  # for the calls under way


@dataclass(slots=True, kw_only=True)
class _Life:
    """The task of one slot, and how to end it."""

    task: asyncio.Task[None] | None = None
    woken: asyncio.Event = field(default_factory=asyncio.Event)
    is_released: bool = False
    wait_s: float = 0.0


class Reconciler:
    """Loads and unloads; the decisions are domain.residency's."""

    def __init__(
        self,
        residency: Residency,
        loader: Loader,
        policy: ReconcilePolicy,
        *,
        clock_s: Callable[[], float],
        chances: random.Random,
    ) -> None:
        self._residency = residency
        self._loader = loader
        self._policy = policy
        self._clock_s = clock_s
        self._chances = chances
        self._lives: dict[str, _Life] = {}

    async def run(self) -> None:
        """Follow every change until cancelled; then close whatever is resident."""
        with self._residency.changes.watched() as changed:
            async with asyncio.TaskGroup() as group:
                while True:
                    now_s = self._clock_s()
                    self._step(group, now_s)
                    await awoken(changed, self._next_look_s(now_s))

    def _step(self, group: asyncio.TaskGroup, now_s: float) -> None:
        demanded = self._residency.demanded
        plan = planned(
            self._residency.seats(),
            demanded,
            memory_bytes_max=self._policy.memory_bytes_max,
            loads_max=self._policy.loads_max,
            now_s=now_s,
        )
        for name in plan.refused:
            slot = self._residency.get(name)
            self._fail(slot, too_large(slot.assigned.version, slot.need_bytes, self._policy.memory_bytes_max))
        for name in plan.evict:
            self._release(name, self._policy.evict_wait_s)
        for name in self._residency.leavers():
            self._release(name, self._policy.drain_wait_s)
        for name in self._residency.parked():
            self._release(name, self._policy.drain_wait_s)
        for name in self._residency.outdated():
            self._lives[name].woken.set()
        for name in plan.load:
            if name not in self._lives:
                self._residency.put(self._residency.get(name).loading(asked=name in demanded))
                life = self._lives[name] = _Life()
                life.task = group.create_task(self._live(name, life), name=f"slot {name}")
        self._forgive(now_s)

    def _forgive(self, now_s: float) -> None:
        """A slot that may be tried again, and has no room yet, does not count as failed: a call may have it loaded."""
        for slot in [seat.slot for seat in self._residency.seats()]:
            if slot.state is SlotState.FAILED and slot.retry_at_s <= now_s:
                self._residency.put(slot.unloaded())

    def _release(self, name: str, wait_s: float) -> None:
        """Have a slot unloaded; a load under way is given up."""
        life, slot = self._lives.get(name), self._residency.get(name)
        if life is None:
            if slot.removed:
                self._residency.put(slot)  # nothing resident: it can be forgotten
        elif slot.state is SlotState.READY:
            life.wait_s = wait_s
            life.is_released = True
            life.woken.set()
        elif slot.state in (SlotState.LOADING, SlotState.WARMING) and life.task is not None:
            life.task.cancel()

    async def _live(self, name: str, life: _Life) -> None:
        residency = self._residency
        failure: ServemeshError | None = None
        try:
            version = residency.get(name).assigned.version
            async with self._loader.loaded(
                version, lambda memory_bytes: residency.put(residency.get(name).warming(memory_bytes))
            ) as warm:
                residency.put(residency.get(name).ready())
                _log.info(names.SLOT_READY, extra={"version": name})
                await self._answer(name, life, warm)
        except ServemeshError as error:
            failure = error
        except Exception:  # noqa: BLE001 - one slot's bug does not end the others
            _log.exception(names.SLOT_FAILED, extra={"version": name})
            failure = ServemeshError("loading failed for a reason that is in this worker's log")
        finally:
            del self._lives[name]
            residency.unseat(name)
            self._end(residency.get(name), failure)

    async def _answer(self, name: str, life: _Life, warm: WarmModel) -> None:
        """Take calls until released; when the batching policy changes, a new batcher takes over from the old."""
        residency = self._residency
        ready: ReadySlot | None = None
        async with AsyncExitStack() as batchers:
            while not life.is_released:
                older, before = batchers.pop_all(), ready
                async with older:
                    ready = await batchers.enter_async_context(
                        self._loader.answering(warm, residency.get(name).assigned, residency.statistics(name))
                    )
                    residency.seat_resident(name, ready)
                    if before is not None:
                        await self._drain(before)
                await life.woken.wait()
                life.woken.clear()
            residency.put(residency.get(name).draining())
            await asyncio.sleep(life.wait_s)
            residency.unseat(name)
            if ready is not None:
                await self._drain(ready)

    async def _drain(self, ready: ReadySlot) -> None:
        try:
            async with asyncio.timeout(self._policy.drain_timeout_s):
                await ready.batcher.drain()
        except TimeoutError:
            _log.warning(names.SLOT_DRAIN_TIMEOUT, extra={"model": ready.model, "version": ready.version_id})

    def _end(self, slot: Slot, failure: ServemeshError | None) -> None:
        if slot.state is SlotState.READY:  # cancelled: the process stops
            slot = slot.draining()
        if failure is not None and slot.state is not SlotState.DRAINING:
            self._fail(slot, failure)
        else:
            _log.info(names.SLOT_UNLOADED, extra={"version": slot.name})
            self._residency.put(slot.unloaded())

    def _fail(self, slot: Slot, failure: ServemeshError) -> None:
        retry_at_s = NEVER_S
        if failure.reason not in FINAL_REASONS:
            retry_at_s = self._clock_s() + backoff_s(
                slot.failures,
                first_s=self._policy.retry_first_s,
                longest_s=self._policy.retry_longest_s,
                chance=self._chances.random(),
            )
        _log.warning(
            names.SLOT_FAILED,
            extra={"version": slot.name, "reason": failure.reason, "detail": failure.message},
        )
        self._residency.put(slot.failed(failure.reason, failure.message, retry_at_s=retry_at_s))

    def _waits_for_idle(self) -> bool:
        """Whether a slot without calls would be unloaded: for one that is asked for, or as too much is resident."""
        taken_bytes = sum(seat.slot.memory_bytes for seat in self._residency.seats())
        return taken_bytes > self._policy.memory_bytes_max or any(
            self._residency.get(name).state is SlotState.UNLOADED for name in self._residency.demanded
        )

    def _next_look_s(self, looked_s: float) -> float | None:
        """When to look again although nothing changed. What was due already now waits for room: for a change."""
        now_s = self._clock_s()
        waits = [
            seat.slot.retry_at_s - now_s
            for seat in self._residency.seats()
            if seat.slot.state is SlotState.FAILED and looked_s < seat.slot.retry_at_s < NEVER_S
        ]
        if self._waits_for_idle():
            waits.append(IDLE_LOOK_S)
        return max(0.01, min(waits)) if waits else None
