"""The supervisor with processes that live and die as the test says."""

import pytest

from servemesh.local.domain.processes import Stage, State
from servemesh.local.service import HopelessError
from tests.harness.stepped_supervisor import (
    EDGE,
    READY_LINE,
    STORE,
    WORKER,
    Run,
    SteppedLauncher,
    a_spec,
)
from tests.harness.waiting import eventually


async def test_a_service_is_ready_when_it_says_so():
    run = Run(WORKER)
    async with run.under_way():
        await run.until("worker", State.STARTING)
        run.launcher.latest("worker").say(READY_LINE)
        await run.until("worker", State.READY)
        assert run.history[-1].state is State.READY


async def test_a_line_that_only_mentions_ready_does_not_count():
    run = Run(WORKER)
    async with run.under_way():
        await run.until("worker", State.STARTING)
        run.launcher.latest("worker").say(b"not ready yet")
        run.launcher.latest("worker").say(b'{"event": "other", "text": "ready"}')
        assert run.state("worker") is State.STARTING


async def test_a_store_is_ready_when_its_page_answers():
    run = Run(STORE)
    async with run.under_way():
        await run.until("store", State.STARTING)
        run.probe.pages.add("http://store")
        await run.until("store", State.READY)


async def test_a_load_balancer_is_ready_when_it_has_found_all_its_hosts_well():
    run = Run(a_spec("edge", Stage.EDGE, members_url="http://members"))
    async with run.under_way():
        await run.until("edge", State.STARTING)
        run.launcher.latest("edge").say(READY_LINE)
        await run.probe.asked_for_members.wait()
        assert run.state("edge") is State.STARTING
        run.probe.well.add("http://members")
        await run.until("edge", State.READY)


async def test_a_load_balancer_with_a_dead_host_is_ready_after_a_while():
    run = Run(a_spec("edge", Stage.EDGE, members_url="http://members"), settle_s=0.01)
    async with run.under_way():
        await run.until("edge", State.STARTING)
        run.launcher.latest("edge").say(READY_LINE)
        await run.until("edge", State.READY)


async def test_a_process_is_not_started_before_its_file_is_there():
    run = Run(EDGE, WORKER)
    async with run.under_way():
        await run.until("worker", State.STARTING)
        assert run.launcher.starts("edge") == 0
        run.probe.files.add("bootstrap")
        await run.until("edge", State.STARTING)


async def test_what_dies_is_started_again():
    run = Run(WORKER)
    async with run.under_way():
        await run.until("worker", State.STARTING)
        run.launcher.latest("worker").say(READY_LINE)
        await run.until("worker", State.READY)
        run.launcher.latest("worker").end(-9)
        await eventually(lambda: run.launcher.starts("worker") == 2, 2.0)
        assert run.history[-1].processes[0].restarts == 1
        assert run.history[-1].state is State.DEGRADED


async def test_a_process_that_never_gets_ready_ends_the_mesh():
    run = Run(WORKER, STORE, launcher=SteppedLauncher(doomed=("worker",)))
    with pytest.raises(HopelessError, match="worker does not start"):
        await run.supervisor.run(run._stopped)
    assert run.history[-1].state is State.FAILED
    assert run.launcher.starts("worker") == 5


async def test_what_does_not_get_ready_in_time_is_killed_and_started_again():
    run = Run(WORKER, ready_s=0.05)
    async with run.under_way():
        await eventually(lambda: run.launcher.starts("worker") == 2, 2.0)
        run.launcher.latest("worker").say(READY_LINE)
        await run.until("worker", State.READY)
    assert run.launcher.started_ones[0][1].signals == ["KILL"]


async def test_what_no_longer_answers_is_killed_and_started_again():
    run = Run(STORE)
    run.probe.pages |= {"http://store", "http://well"}
    async with run.under_way():
        await run.until("store", State.READY)
        run.probe.pages.remove("http://well")
        await eventually(lambda: run.launcher.starts("store") >= 2, 2.0)
        run.probe.pages.add("http://well")
        await run.until("store", State.READY)
    assert run.launcher.started_ones[0][1].signals == ["KILL"]


async def test_stages_stop_in_order_and_the_edge_is_drained_before():
    run = Run(STORE, WORKER)
    ended: list[str] = []
    async with run.under_way():
        await run.until("worker", State.STARTING)
        await run.until("store", State.STARTING)
    assert run.probe.posted == ["http://drain"]
    for status in run.history:
        ended += [
            item.name for item in status.processes if item.state is State.STOPPED and item.name not in ended
        ]
    assert ended == ["worker", "store"]
    assert run.history[-1].state is State.STOPPED


async def test_a_process_that_does_not_obey_is_killed_after_the_grace():
    run = Run(WORKER, launcher=SteppedLauncher(stubborn=("worker",)))
    async with run.under_way():
        await run.until("worker", State.STARTING)
    assert run.launcher.latest("worker").signals == ["TERM", "KILL"]


async def test_nothing_is_started_again_while_stopping():
    run = Run(WORKER)
    async with run.under_way():
        await run.until("worker", State.STARTING)
    assert run.launcher.starts("worker") == 1
