"""When the SDK sends a call again."""

import pytest

from servemesh.client.retries import NO_ANSWER, RetryPolicy, delay_s, pushback_of
from servemesh.errors import InvalidError, OverloadedError, ServemeshError, UnavailableError

POLICY = RetryPolicy(attempts_max=4, unreachable_s_max=5.0, delay_s_first=0.1, delay_s_max=0.3)


def wait_s(
    attempt: int = 1,
    *,
    error: ServemeshError | None = None,
    pushback: str | None = None,
    passed_s: float = 0.0,
    left_s: float = 30.0,
    random: float = 1.0,
) -> float | None:
    return delay_s(
        POLICY,
        attempt=attempt,
        error=error or UnavailableError("away"),
        pushback=pushback,
        passed_s=passed_s,
        left_s=left_s,
        random=lambda: random,
    )


def test_ceilings_double_up_to_a_bound():
    assert [wait_s(attempt) for attempt in (1, 2, 3)] == [0.1, 0.2, 0.3]


def test_full_jitter_may_wait_for_nothing():
    assert wait_s(random=0.0) == 0.0


def test_attempts_are_bounded():
    assert wait_s(4) is None


def test_a_mesh_that_nobody_answers_for_is_waited_for_by_time_not_by_attempts():
    nobody = UnavailableError("nobody", reason=NO_ANSWER)
    assert wait_s(40, error=nobody, passed_s=4.9) == 0.3
    assert wait_s(2, error=nobody, passed_s=5.0) is None


def test_one_attempt_means_one_attempt():
    once = RetryPolicy(attempts_max=1)
    for error in (UnavailableError("away"), UnavailableError("nobody", reason=NO_ANSWER)):
        told = delay_s(
            once, attempt=1, error=error, pushback=None, passed_s=0.0, left_s=9.0, random=lambda: 0.0
        )
        assert told is None


@pytest.mark.parametrize("error", [InvalidError("no"), OverloadedError("full"), ServemeshError("bug")])
def test_only_unavailable_is_retried(error: ServemeshError):
    assert wait_s(error=error) is None


def test_nothing_is_sent_past_the_deadline():
    assert wait_s(left_s=0.05) is None


def test_the_server_decides_how_long_to_wait():
    assert wait_s(pushback="250") == 0.25


@pytest.mark.parametrize("pushback", ["-1", "soon", ""])
def test_a_server_that_says_no_is_obeyed(pushback: str):
    assert wait_s(pushback=pushback) is None


def test_the_servers_word_is_found_among_trailers():
    assert pushback_of([("x", "1"), ("grpc-retry-pushback-ms", "7")]) == "7"
    assert pushback_of(None) is None
