"""When a failed call is sent again, and after how long."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from servemesh.errors import ServemeshError, UnavailableError

NO_ANSWER = "NO_ANSWER"  # the reason of an address where nobody answers
PUSHBACK_KEY = "grpc-retry-pushback-ms"


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """Full jitter: each wait is drawn between nothing and a ceiling that doubles.

    Times in seconds. `attempts_max` counts the first attempt too; 1 switches retries off. Attempts that nobody
    answers are not counted but timed: a load balancer that restarts is waited for `unreachable_s_max`.
    """

    attempts_max: int = 8
    unreachable_s_max: float = 5.0
    delay_s_first: float = 0.05
    delay_s_max: float = 1.0


def delay_s(
    policy: RetryPolicy,
    *,
    attempt: int,
    error: ServemeshError,
    pushback: str | None,
    passed_s: float,
    left_s: float,
    random: Callable[[], float],
) -> float | None:
    """Return how long to wait before sending the call again after its attempt number `attempt`; None: give up.

    Only UNAVAILABLE is retried, and never past the deadline, which is `left_s` away; the call began `passed_s` ago.
    `pushback` is what the
    server wrote in grpc-retry-pushback-ms: the wait it wants, or a negative or unreadable value for "do not".
    """
    if not isinstance(error, UnavailableError) or policy.attempts_max == 1:
        return None
    if passed_s >= policy.unreachable_s_max if error.reason == NO_ANSWER else attempt >= policy.attempts_max:
        return None
    if pushback is not None:
        wait_s = _pushback_s(pushback)
        if wait_s is None:
            return None
    else:
        wait_s = min(policy.delay_s_first * 2.0 ** (attempt - 1), policy.delay_s_max) * random()
    return wait_s if wait_s < left_s else None


def pushback_of(trailers: Iterable[tuple[str, str | bytes]] | None) -> str | None:
    """Return the server's word on when to retry, None if it said nothing."""
    for key, value in trailers or ():
        if key == PUSHBACK_KEY:
            return value if isinstance(value, str) else value.decode("ascii", "replace")
    return None


def _pushback_s(text: str) -> float | None:
    try:
        pushback_ms = int(text)
    except ValueError:
        return None
    return None if pushback_ms < 0 else pushback_ms / 1000
