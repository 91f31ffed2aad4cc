"""Messages that wait to be sent to a collector: bounded, in order, tried again when the collector asks for it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto

WAITING_MAX = 64
PAUSE_S_FIRST = 1.0
PAUSE_S_MAX = 10.0  # after an outage nobody is silent for longer


class Verdict(Enum):
    """What became of a message."""

    TAKEN = auto()
    LATER = auto()
    """Not now; the same message may be sent again."""
    REFUSED = auto()
    """Never; it would be refused again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """A message and the method that takes it."""

    method: str
    message: bytes
    weight: int = 1
    """How much is lost with it, as it is counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How sending ended; `after_s` is when the collector wants to be asked again, if it said so."""

    verdict: Verdict
    after_s: float | None = None


class Outbox:
    """Not safe for threads: one thread fills and empties it."""

    def __init__(self, dropped: Callable[[Letter], None], random: Callable[[], float]) -> None:
        self._letters: deque[Letter] = deque()
        self._dropped = dropped
        self._random = random
        self._failures = 0
        self._not_before_s = 0.0
        self.is_failing = False

    def __len__(self) -> int:
        return len(self._letters)

    def put(self, letter: Letter) -> None:
        """Keep it; where there is no room the oldest goes."""
        if len(self._letters) >= WAITING_MAX:
            self._dropped(self._letters.popleft())
        self._letters.append(letter)

    def send(
        self, post: Callable[[Letter], Outcome], now_s: Callable[[], float], *, last: bool = False
    ) -> None:
        """Send what waits until the collector takes no more; the `last` time also before it wants to be asked."""
        while self._letters and (last or now_s() >= self._not_before_s):
            outcome = post(self._letters[0])
            if outcome.verdict is Verdict.LATER:
                self._put_off(outcome.after_s, now_s())
                return
            letter = self._letters.popleft()
            self.is_failing = outcome.verdict is Verdict.REFUSED
            if self.is_failing:
                self._dropped(letter)
            self._failures = 0

    def _put_off(self, after_s: float | None, now_s: float) -> None:
        self.is_failing = True
        self._failures += 1
        pause_s = min(PAUSE_S_FIRST * 2 ** (self._failures - 1), PAUSE_S_MAX) * (0.5 + self._random() / 2)
        self._not_before_s = now_s + min(PAUSE_S_MAX, pause_s if after_s is None else after_s)
