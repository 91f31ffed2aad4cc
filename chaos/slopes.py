"""How fast what a process takes grows, over all the lives that it had between being killed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from chaos.vitals import QUANTITIES, Vitals

WARM_S = 60.0  # a process that has just started still grows into its work
TOLD_S = 300.0  # less than this is too short to tell
# What may come and go without being a leak, in the unit of each.
ROOM = {"rss_mib": 24.0, "files": 12.0, "threads": 6.0, "tasks": 24.0, "channels": 4.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Slope:
    """The growth of one quantity of one process: `growth` is what it came to over `seen_s`."""

    process: str
    quantity: str
    per_hour: float
    seen_s: float

    @property
    def growth(self) -> float:
        """How much it grew in the time that it was seen, warm."""
        return self.per_hour * self.seen_s / 3600

    @property
    def is_flat(self) -> bool:
        """Whether what grew is within what comes and goes."""
        return self.growth <= ROOM[self.quantity]

    @property
    def verdict(self) -> str:
        """In words."""
        if not self.is_flat:
            return "NOT FLAT"
        return "flat" if self.seen_s >= TOLD_S else "flat so far, too short to tell"

    def __str__(self) -> str:
        minutes = self.seen_s / 60
        return f"{self.process:12} {self.quantity:9} {self.per_hour:+9.1f} /h over {minutes:5.1f} min  {self.verdict}"


def slopes(looks: Iterable[Vitals]) -> list[Slope]:
    """Return the slope of every quantity of every process: one straight line, lifted anew for each life."""
    lives: dict[str, dict[int, list[Vitals]]] = defaultdict(lambda: defaultdict(list))
    for look in looks:
        if look.age_s >= WARM_S:
            lives[look.process][look.pid].append(look)
    found = (
        _slope(process, quantity, list(by_pid.values()))
        for process, by_pid in lives.items()
        for quantity in QUANTITIES
    )
    return [slope for slope in found if slope is not None]


def _slope(process: str, quantity: str, lives: list[list[Vitals]]) -> Slope | None:
    product = square = seen_s = 0.0
    for points in map(list, (_points(life, quantity) for life in lives)):
        if len(points) < 2:
            continue
        mean_s = sum(at_s for at_s, _ in points) / len(points)
        mean = sum(value for _, value in points) / len(points)
        product += sum((at_s - mean_s) * (value - mean) for at_s, value in points)
        square += sum((at_s - mean_s) ** 2 for at_s, _ in points)
        seen_s += points[-1][0] - points[0][0]
    if not square:
        return None
    return Slope(process=process, quantity=quantity, per_hour=product / square * 3600, seen_s=seen_s)


def _points(life: list[Vitals], quantity: str) -> Iterator[tuple[float, float]]:
    for look in life:
        value = getattr(look, quantity)
        if value is not None:
            yield look.seen_s, value
