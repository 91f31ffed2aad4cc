"""Alerts, their rules and silences, as users see them. `alerting.Alerting` makes alerts."""

from __future__ import annotations

import uuid
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, replace

from servemesh.changes import Changes
from servemesh.errors import ConflictError, MissingError, OverloadedError
from servemesh.lifecycle import Clock
from servemesh.metrics.domain.alerting.alerts import Alert, State
from servemesh.metrics.domain.alerting.rules import Rule
from servemesh.metrics.domain.alerting.silences import Silence, check_silence, is_silenced
from servemesh.metrics.service.alert_storage import AlertStore, Transaction
from servemesh.paging import Page, PageRequest
from servemesh.requests import RequestKey

WATCH_INTERVAL_S = 1.0
REQUEST_RETENTION_S = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenAlert:
    """An alert, and whether a silence keeps it from being delivered."""

    alert: Alert
    silenced: bool


class AlertBook:
    """Every method is one transaction, but for `watch`."""

    def __init__(
        self,
        store: AlertStore,
        rules: Mapping[str, Rule],
        clock: Clock,
        changes: Changes,
        *,
        silences_max: int,
        watchers_max: int,
    ) -> None:
        self._store = store
        self._rules = rules
        self._clock = clock
        self._changes = changes
        self._silences_max = silences_max
        self._watchers_max = watchers_max
        self._watchers = 0

    @property
    def rules(self) -> Sequence[Rule]:
        """All of them, in the order of the files."""
        return tuple(self._rules.values())

    async def list(self, page: PageRequest, *, with_resolved: bool) -> Page[SeenAlert]:
        """Newest first."""
        now_s = self._now_s()
        async with self._store.reading() as tx:
            rows = await tx.alerts.list(
                with_resolved=with_resolved, before=page.after_number, limit=page.fetch
            )
            silences = await tx.silences.list(now_s=now_s)
        cut = page.page(rows, lambda row: str(row[0]))
        items = tuple(
            SeenAlert(alert=row[1], silenced=is_silenced(row[1], silences, now_s)) for row in cut.items
        )
        return Page(items=items, next_page_token=cut.next_page_token)

    async def firing_count(self) -> int:
        """How many fire now."""
        async with self._store.reading() as tx:
            return sum(each.state is State.FIRING for each in await tx.alerts.list_unsettled())

    async def watch(self) -> AsyncGenerator[SeenAlert]:
        """All that are pending or firing, then each that differs; a slow reader misses states, never the last.

        A pending alert whose condition was over too soon is told of as it was, resolved at the time of the look.
        """
        if self._watchers >= self._watchers_max:
            raise OverloadedError(
                f"{self._watchers} watchers, the most that are taken; ask again or poll",
                reason="WATCHERS_MAX",
                retry_after_s=1.0,
                limit=self._watchers_max,
            )
        self._watchers += 1
        try:
            told: dict[str, SeenAlert] = {}
            while True:
                seen = self._changes.count
                current = {each.alert.alert_id: each for each in await self._open(set(told))}
                for alert_id, before in list(told.items()):
                    if alert_id not in current:  # pending, and then nothing
                        del told[alert_id]
                        yield SeenAlert(alert=_ended(before.alert, self._now_s()), silenced=before.silenced)
                for alert_id, each in current.items():
                    if _shown(told.get(alert_id)) != _shown(each):
                        told[alert_id] = each
                        yield each
                    if each.alert.state is State.RESOLVED:
                        told.pop(alert_id, None)
                await self._changes.wait(seen, timeout_s=WATCH_INTERVAL_S)
        finally:
            self._watchers -= 1

    async def silences(self) -> Sequence[Silence]:
        """Those that have not ended, the soonest to end first."""
        async with self._store.reading() as tx:
            return await tx.silences.list(now_s=self._now_s())

    async def create_silence(
        self, filters: Mapping[str, tuple[str, ...]], end_s: float, comment: str, request: RequestKey | None
    ) -> Silence:
        """Keep matching alerts from being delivered. InvalidError if it is malformed or too long."""
        now_s = self._now_s()
        silence = Silence(
            silence_id=f"s{uuid.uuid4().hex[:16]}",
            filters=filters,
            end_s=end_s,
            comment=comment,
            create_s=now_s,
        )
        check_silence(silence)
        async with self._store.writing() as tx:
            if request is not None and (known := await _answered(tx, request)) is not None:
                return known
            if len(await tx.silences.list(now_s=now_s)) >= self._silences_max:
                raise OverloadedError(
                    f"there are {self._silences_max} silences, the most there may be; end one first",
                    reason="SILENCES_MAX",
                    retry_after_s=None,
                    limit=self._silences_max,
                )
            await tx.silences.put(silence)
            await tx.silences.delete_ended(before_s=now_s - REQUEST_RETENTION_S)
            await tx.requests.delete(before_s=now_s - REQUEST_RETENTION_S)
            if request is not None:
                await tx.requests.put(request, silence.silence_id, create_s=now_s)
        self._changes.notify()
        return silence

    async def end_silence(self, silence_id: str) -> None:
        """End one now; MissingError if there is none (any more)."""
        now_s = self._now_s()
        async with self._store.writing() as tx:
            found = await tx.silences.find(silence_id)
            if found is None or found.end_s <= now_s:
                raise MissingError(
                    f"silences/{silence_id} does not exist, or has ended",
                    reason="SILENCE_MISSING",
                    name=f"silences/{silence_id}",
                )
            await tx.silences.put(replace(found, end_s=now_s))
        self._changes.notify()

    async def _open(self, known: set[str]) -> Sequence[SeenAlert]:
        """What is pending or firing, and what was when it was told of."""
        now_s = self._now_s()
        async with self._store.reading() as tx:
            found = {alert.alert_id: alert for alert in await tx.alerts.list_unsettled()}
            silences = await tx.silences.list(now_s=now_s)
            missed = await tx.alerts.find(sorted(known - found.keys()))
        found |= {alert.alert_id: alert for alert in missed}
        return [
            SeenAlert(alert=alert, silenced=is_silenced(alert, silences, now_s))
            for alert in found.values()
            if alert.state is not State.RESOLVED or alert.alert_id in known
        ]

    def _now_s(self) -> float:
        return self._clock.now().timestamp()


async def _answered(tx: Transaction, request: RequestKey) -> Silence | None:
    found = await tx.requests.find(request.request_id)
    if found is None:
        return None
    if found[0] != request.sha256:
        raise ConflictError(
            f"request_id {request.request_id} was used before with other arguments; take a new one",
            reason="REQUEST_ID_REUSED",
            request_id=request.request_id,
        )
    return await tx.silences.find(found[1])


def _ended(alert: Alert, now_s: float) -> Alert:
    return replace(alert, state=State.RESOLVED, resolve_s=now_s)


def _shown(seen: SeenAlert | None) -> tuple[object, ...]:
    if seen is None:
        return ()
    return seen.alert.state, seen.alert.text, seen.alert.value, seen.silenced
