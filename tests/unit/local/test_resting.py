"""Workers that rest while less is asked than they could do."""

from servemesh.local.domain.processes import Stage, State
from tests.harness.stepped_supervisor import (
    READY_LINE,
    WORKER,
    Run,
    SteppedLauncher,
    a_spec,
)
from tests.harness.waiting import eventually


async def test_a_worker_that_rests_does_not_run_and_is_started_when_it_is_wanted():
    run = Run(WORKER, a_spec("worker-2", Stage.WORKERS), resting=frozenset({"worker-2"}))
    async with run.under_way():
        await run.until("worker", State.STARTING)
        run.launcher.latest("worker").say(READY_LINE)
        await run.until("worker-2", State.RESTING)
        await run.until("worker", State.READY)
        assert run.history[-1].state is State.READY
        run.supervisor.rest(frozenset())
        await run.until("worker-2", State.STARTING)


async def test_a_worker_that_is_to_rest_is_told_to_end_and_that_is_no_death():
    run = Run(WORKER)
    async with run.under_way():
        await run.until("worker", State.STARTING)
        run.launcher.latest("worker").say(READY_LINE)
        await run.until("worker", State.READY)
        run.supervisor.rest(frozenset({"worker"}))
        await run.until("worker", State.RESTING)
        assert run.launcher.latest("worker").signals == ["TERM"]
        assert run.history[-1].processes[0].restarts == 0
        assert run.history[-1].state is State.READY


async def test_a_worker_that_does_not_end_when_it_is_to_rest_is_killed():
    run = Run(WORKER, launcher=SteppedLauncher(stubborn=("worker",)))
    async with run.under_way():
        await run.until("worker", State.STARTING)
        run.supervisor.rest(frozenset({"worker"}))
        await eventually(lambda: "KILL" in run.launcher.latest("worker").signals, 2.0)
