"""What pages may ask, how much at a time, and how the beat of the mesh reaches them."""

from __future__ import annotations

import asyncio
import json
from contextlib import aclosing

import pytest

from servemesh.errors import MissingError, OverloadedError, UnavailableError
from servemesh.lifecycle import SystemClock, background
from servemesh.metrics.console.domain import method_of
from servemesh.metrics.console.service import Bounds, Pulse, Questions
from tests.harness.told_mesh import ToldMesh


def bounds(**changes: float) -> Bounds:
    values = {
        "questions_max": 4,
        "question_s_max": 5,
        "watchers_max": 2,
        "pulse_s": 0.01,
        "pulse_window_s": 60,
    }
    return Bounds(**{**values, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "name", ["GetOverview", "ListModels", "QueryRange", "CompareVersions", "CreateSilence"]
)
def test_what_reads_may_be_asked_and_what_operators_need(name: str):
    assert method_of("metrics", name).service == "servemesh.api.metrics.v1.MetricsService"


@pytest.mark.parametrize(
    ("word", "name"),
    [
        ("registry", "DeleteModel"),
        ("registry", "SetAlias"),
        ("fleet", "RenewLease"),
        ("os", "GetEnvironment"),
    ],
)
def test_what_changes_the_mesh_may_not_be_asked(word: str, name: str):
    with pytest.raises(MissingError, match=f"{word}.{name}"):
        method_of(word, name)


async def test_questions_beyond_the_bound_are_refused():
    questions = Questions(ToldMesh(), bounds(questions_max=0))
    with pytest.raises(OverloadedError) as refused:
        await questions.answer("metrics", "GetOverview", {})
    assert refused.value.reason == "TOO_MANY_QUESTIONS"


async def test_all_open_pages_are_told_by_one_round_of_questions():
    mesh = ToldMesh({"ListWorkers": UnavailableError("the registry is away")})
    pulse = Pulse(mesh, SystemClock(), bounds(pulse_s=60))
    async with (
        asyncio.timeout(5),
        background(pulse.run),
        aclosing(pulse.beats()) as one,
        aclosing(pulse.beats()) as other,
    ):
        first, second = await asyncio.gather(anext(one), anext(other))
    beat = json.loads(first)
    assert first == second
    assert mesh.asked["ListWorkers"] == 1
    assert (beat["fleet"], beat["errors"]) == (None, {"fleet": "the registry is away"})
    assert beat["alerts"] is not None


async def test_nobody_is_asked_while_no_page_is_open():
    mesh = ToldMesh()
    pulse = Pulse(mesh, SystemClock(), bounds())
    async with asyncio.timeout(5), background(pulse.run):
        async with aclosing(pulse.beats()) as beats:
            await anext(beats)
            await anext(beats)
        asked = mesh.asked.total()
        async with aclosing(pulse.beats()) as beats:
            await anext(beats)
    assert asked >= 10
    assert mesh.asked.total() > asked


async def test_a_page_that_opens_between_two_beats_is_told_the_last_one_at_once():
    mesh = ToldMesh()
    pulse = Pulse(mesh, SystemClock(), bounds(pulse_s=60))
    async with asyncio.timeout(5), background(pulse.run), aclosing(pulse.beats()) as one:
        first = await anext(one)
        async with aclosing(pulse.beats()) as other:
            assert await anext(other) == first
    assert mesh.asked["ListWorkers"] == 1


async def test_pages_beyond_the_bound_are_refused():
    pulse = Pulse(ToldMesh(), SystemClock(), bounds(watchers_max=1))
    async with asyncio.timeout(5), background(pulse.run), aclosing(pulse.beats()) as beats:
        await anext(beats)
        with pytest.raises(OverloadedError, match="1 pages are open"):
            await anext(pulse.beats())
