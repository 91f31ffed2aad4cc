"""How long calls that wait are likely to wait: what is ahead of them, and how fast it has lately gone."""

from __future__ import annotations

# How much the latest run counts: the pace of the last ten or so.
_WEIGHT = 0.2


class Backlog:
    """Places that wait, by rank, and the time that each has lately taken while there was always a next one.

    The wait is that of Little's law (J. D. C. Little, 1961): places ahead times seconds per place.
    """

    def __init__(self) -> None:
        self._places: dict[int, int] = {}
        self._since_s: float | None = None  # when the latest run began, if calls were left waiting
        self._taken = 0
        self._seconds_per_place = 0.0
        self.places = 0

    def add(self, rank: int, places: int) -> None:
        """So many more wait; fewer, if negative."""
        self.places += places
        self._places[rank] = self._places.get(rank, 0) + places
        if not self._places[rank]:
            del self._places[rank]

    def interrupt(self) -> None:
        """Those who waited have left, so that the next run will begin when somebody comes, not when this one ends."""
        self._since_s, self._taken = None, 0

    def ahead(self, rank: int) -> int:
        """Return how many places come before a call of this rank that arrives now."""
        return sum(places for other, places in self._places.items() if other <= rank)

    def began(self, places: int, now_s: float) -> None:
        """A run has begun with so many places, and the rest goes on waiting."""
        if self._since_s is not None:
            sample_s = (now_s - self._since_s) / self._taken
            known_s = self._seconds_per_place or sample_s
            self._seconds_per_place = known_s + _WEIGHT * (sample_s - known_s)
        self._since_s, self._taken = (now_s, places) if places and self.places else (None, 0)

    def wait_s(self, places: int) -> float:
        """Return how long so many places are likely to take; 0 while no pace is known."""
        return places * self._seconds_per_place
