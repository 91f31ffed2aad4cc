"""When a dead process comes back."""

from servemesh.local.domain.restarts import Deaths, RestartPolicy

POLICY = RestartPolicy(delay_s_first=0.1, delay_s_max=10, healthy_s=60, deaths_before_ready_max=5)


def died(times: int, *, lived_s: float = 1.0, ready: bool = True) -> Deaths:
    deaths = Deaths()
    for _ in range(times):
        deaths = deaths.after(lived_s=lived_s, ready=ready, policy=POLICY)
    return deaths


def test_the_first_restart_is_almost_at_once():
    assert died(1).delay_s(POLICY, lambda: 1.0) == 0.1


def test_each_death_in_a_row_doubles_the_wait_up_to_a_bound():
    waits_s = [died(times).delay_s(POLICY, lambda: 1.0) for times in range(1, 10)]
    assert waits_s == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10, 10]


def test_jitter_takes_away_half_of_the_wait_at_most():
    assert died(4).delay_s(POLICY, lambda: 0.0) == 0.4


def test_a_healthy_minute_wipes_the_slate():
    assert died(8).after(lived_s=60, ready=True, policy=POLICY).in_a_row == 1


def test_a_minute_without_being_ready_is_not_healthy():
    assert died(3, ready=False).after(lived_s=90, ready=False, policy=POLICY).in_a_row == 4


def test_a_process_that_was_never_ready_becomes_hopeless():
    assert not died(4, ready=False).is_hopeless(POLICY)
    assert died(5, ready=False).is_hopeless(POLICY)


def test_so_does_one_that_took_too_long_in_all():
    policy = RestartPolicy(unready_s_max=90)
    once = Deaths().after(lived_s=45, ready=False, policy=policy)
    assert not once.is_hopeless(policy)
    assert once.after(lived_s=45, ready=False, policy=policy).is_hopeless(policy)


def test_a_process_that_was_ready_once_is_never_hopeless():
    assert not died(1).after(lived_s=0, ready=False, policy=POLICY).is_hopeless(POLICY)
    assert not died(50).is_hopeless(POLICY)
