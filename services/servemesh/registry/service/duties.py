"""A duty that one registry of several does at a time."""

from __future__ import annotations

from dataclasses import replace

from servemesh.registry.domain.duties import Duty, StandstillWatch
from servemesh.registry.service.ports import Clock, Store


class SoleDuty:
    """Taken from whoever has shown no sign of life for `takeover_s`, and kept by three signs in each `term_s`."""

    def __init__(
        self, store: Store, clock: Clock, name: str, holder: str, *, term_s: float, takeover_s: float
    ) -> None:
        self._store = store
        self._clock = clock
        self._name = name
        self._holder = holder
        self._term_s = term_s
        self._watch = StandstillWatch(takeover_s)
        self._beat_at_s: float | None = None

    async def holds(self) -> bool:
        """Whether the duty is this process's now. Two may believe it for a moment: do nothing that this breaks."""
        now_s = self._clock.monotonic_s()
        if self._beat_at_s is not None and now_s - self._beat_at_s < self._term_s / 3:
            return True
        async with self._store.reading() as tx:
            seen = await tx.duties.find(self._name)
        if seen is not None and seen.holder != self._holder:
            stalled = self._watch.stalled({self._name: (seen.epoch, seen.beat)}, now_s)
            if not stalled:
                self._beat_at_s = None
                return False
        async with self._store.writing(self._name) as tx:
            current = await tx.duties.find(self._name)
            if current != seen:
                return False
            await tx.duties.put(self._next(current))
        self._beat_at_s = now_s
        return True

    def _next(self, current: Duty | None) -> Duty:
        if current is None:
            return Duty(name=self._name, holder=self._holder, epoch=1, beat=1)
        if current.holder == self._holder:
            return replace(current, beat=current.beat + 1)
        return Duty(name=self._name, holder=self._holder, epoch=current.epoch + 1, beat=1)
