"""Grouping: what is delivered when, so that ten alerts of one cause are one message, and none is forgotten."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from servemesh.metrics.domain.alerting.alerts import Alert, State, Told
from servemesh.metrics.domain.alerting.silences import Silence, is_silenced

ALERTS_MAX = 100
"""Alerts of one delivery; it says how many more there are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How long a group gathers, how far apart its deliveries are, and when one that still fires is told of again."""

    wait_s: float
    interval_s: float
    repeat_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """What was told of a group and when."""

    key: str
    wait_s: float | None = None
    """Since when there is something to tell."""
    told_s: float | None = None
    """When it was told of last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One message about a group: its alerts that fire, and those that were resolved since the last one."""

    delivery_id: str
    group: str
    create_s: float
    alerts: tuple[Alert, ...]
    more_count: int = 0
    is_reminder: bool = False

    @property
    def state(self) -> State:
        """Firing while one of its alerts does."""
        return State.FIRING if any(each.state is State.FIRING for each in self.alerts) else State.RESOLVED


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """What a look at all groups came to."""

    deliveries: tuple[Delivery, ...]
    alerts: tuple[Alert, ...]
    """Those that are told of, with what is believed of them now."""
    groups: tuple[Group, ...]
    """Those that differ from before."""
    ended: tuple[str, ...]
    """Keys of groups of which nothing is left."""


def gathered(
    alerts: Sequence[Alert],
    groups: Mapping[str, Group],
    silences: Sequence[Silence],
    now_s: float,
    pace: Pace,
) -> Round:
    """Return what is to be delivered now. `alerts` are all that are not settled.

    One that is silenced waits until its silence ends, be it to say that it fires or that it is over.
    """
    by_group: dict[str, list[Alert]] = defaultdict(list)
    for alert in alerts:
        if alert.state is not State.PENDING and not is_silenced(alert, silences, now_s):
            by_group[alert.group].append(alert)
    deliveries: list[Delivery] = []
    told: list[Alert] = []
    changed: list[Group] = []
    for key, members in sorted(by_group.items()):
        before = groups.get(key, Group(key=key))
        after, delivery = _looked_at(before, members, now_s, pace)
        if after != before:
            changed.append(after)
        if delivery is not None:
            deliveries.append(delivery)
            told += [_told(alert) for alert in members if _is_news(alert)]
    ended = [key for key, group in groups.items() if key not in by_group and _is_over(group, now_s, pace)]
    return Round(
        deliveries=tuple(deliveries), alerts=tuple(told), groups=tuple(changed), ended=tuple(sorted(ended))
    )


def _looked_at(
    group: Group, members: Sequence[Alert], now_s: float, pace: Pace
) -> tuple[Group, Delivery | None]:
    if not any(_is_news(alert) for alert in members):
        calm = replace(group, wait_s=None)
        firing = any(alert.state is State.FIRING for alert in members)
        if firing and group.told_s is not None and now_s - group.told_s >= pace.repeat_s:
            return replace(calm, told_s=now_s), _delivery(group.key, members, now_s, is_reminder=True)
        return calm, None
    waits_s = group.wait_s if group.wait_s is not None else now_s
    due_s = waits_s + pace.wait_s
    if group.told_s is not None:
        due_s = max(due_s, group.told_s + pace.interval_s)
    if now_s < due_s:
        return replace(group, wait_s=waits_s), None
    return replace(group, wait_s=None, told_s=now_s), _delivery(group.key, members, now_s)


def _delivery(key: str, members: Sequence[Alert], now_s: float, *, is_reminder: bool = False) -> Delivery:
    shown = [alert for alert in members if alert.state is State.FIRING or _is_news(alert)]
    shown.sort(
        key=lambda alert: (not _is_news(alert), alert.state is State.RESOLVED, -alert.change_s, alert.subject)
    )
    digest = hashlib.sha256(f"{key}\0{now_s!r}".encode()).hexdigest()
    return Delivery(
        delivery_id=f"d{digest[:24]}",
        group=key,
        create_s=now_s,
        alerts=tuple(_told(alert) for alert in shown[:ALERTS_MAX]),
        more_count=max(0, len(shown) - ALERTS_MAX),
        is_reminder=is_reminder,
    )


def _is_news(alert: Alert) -> bool:
    if alert.state is State.FIRING:
        return alert.told is not Told.FIRING
    return alert.state is State.RESOLVED and alert.told is Told.FIRING


def _told(alert: Alert) -> Alert:
    return replace(alert, told=Told.FIRING if alert.state is State.FIRING else Told.RESOLVED)


def _is_over(group: Group, now_s: float, pace: Pace) -> bool:
    """Its last telling still keeps the next one at a distance for a while."""
    return group.told_s is None or now_s - group.told_s >= pace.interval_s
