"""Client streams over lanes to workers."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable

import pytest

from servemesh.api.oip.v2 import inference_pb2 as pb
from servemesh.errors import InvalidError, OverloadedError
from servemesh.gateway.service import lane
from servemesh.gateway.service.activator import ActivationLimits, Activator
from servemesh.gateway.service.streams import StreamLimits, Streams
from tests.harness.mesh_fakes import FleetTable, MemoryCatalog, MemoryWorkers, a_slot, a_worker


def streams_over(fleet: FleetTable, workers: MemoryWorkers, **limits: int) -> Streams:
    activator = Activator(fleet, workers, MemoryCatalog(), ActivationLimits())
    return Streams(activator, workers, StreamLimits(**limits), random.Random(7))


async def requests(*pairs: tuple[str, str]) -> AsyncIterator[pb.ModelInferRequest]:
    for model, id_ in pairs:
        yield pb.ModelInferRequest(model_name=model, id=id_)


async def answers_of(streams: Streams, *pairs: tuple[str, str]) -> list[pb.ModelStreamInferResponse]:
    async with asyncio.timeout(5):
        return [answer async for answer in streams.serve(requests(*pairs))]


async def test_answers_of_one_model_come_in_the_order_of_its_requests():
    fleet = FleetTable(a_worker("worker-1", a_slot("a"), a_slot("b")), a_worker("worker-2", a_slot("a")))
    pairs = [("a" if index % 3 else "b", str(index)) for index in range(100)]
    answers = await answers_of(streams_over(fleet, MemoryWorkers(fleet)), *pairs)
    ids = [answer.infer_response.id for answer in answers]
    for model in ("a", "b"):
        mine = [id_ for name, id_ in pairs if name == model]
        assert [id_ for id_ in ids if id_ in mine] == mine


async def test_what_a_killed_worker_left_unanswered_is_answered_by_another_once_and_in_order():
    fleet = FleetTable(a_worker("worker-1", a_slot("a")), a_worker("worker-2", a_slot("a")))
    workers = MemoryWorkers(fleet)
    workers.killed_after = {"worker-1:1": 3}
    answers = await answers_of(streams_over(fleet, workers), *[("a", str(index)) for index in range(10)])
    assert [answer.infer_response.id for answer in answers] == [str(index) for index in range(10)]
    assert not any(answer.error_message for answer in answers)


async def test_a_request_for_an_unknown_model_is_answered_with_its_error_and_the_stream_goes_on():
    fleet = FleetTable(a_worker("worker-1", a_slot("a")))
    answers = await answers_of(streams_over(fleet, MemoryWorkers(fleet)), ("nope", "1"), ("a", "2"))
    by_id = {answer.infer_response.id: answer.error_message for answer in answers}
    assert by_id == {"1": "Request for unknown model: 'nope' is not found", "2": ""}


async def test_a_request_that_no_worker_can_answer_fails_after_the_allowed_attempts():
    fleet = FleetTable(a_worker("worker-1", a_slot("a")))
    workers = MemoryWorkers(fleet)
    workers.killed_after = {"worker-1:1": 1}
    answers = await answers_of(streams_over(fleet, workers), ("a", "1"), ("a", "2"))
    assert [(answer.infer_response.id, bool(answer.error_message)) for answer in answers] == [
        ("1", False),
        ("2", True),
    ]


async def test_requests_on_a_stream_that_a_worker_refuses_are_answered_with_its_reason_and_the_rest_goes_on():
    fleet = FleetTable(a_worker("worker-1", a_slot("a")), a_worker("worker-2", a_slot("b")))
    workers = MemoryWorkers(fleet)
    workers.rounds_refused = {"worker-1:1": OverloadedError("8 calls are in flight here, the limit")}
    answers = await answers_of(streams_over(fleet, workers), ("a", "1"), ("b", "2"))
    by_id = {answer.infer_response.id: answer.error_message for answer in answers}
    assert by_id == {"1": "8 calls are in flight here, the limit", "2": ""}


async def test_a_stream_whose_requests_cannot_be_read_ends_with_the_error_that_says_why():
    async def malformed() -> AsyncIterator[pb.ModelInferRequest]:
        yield pb.ModelInferRequest(model_name="a", id="1")
        raise InvalidError("the request's 3 bytes are not the message this method takes")

    fleet = FleetTable(a_worker("worker-1", a_slot("a")))
    with pytest.raises(InvalidError, match="3 bytes"):
        async for _ in streams_over(fleet, MemoryWorkers(fleet)).serve(malformed()):
            pass


async def test_a_stream_with_more_models_than_allowed_refuses_the_rest():
    fleet = FleetTable(a_worker("worker-1", a_slot("a"), a_slot("b")))
    answers = await answers_of(
        streams_over(fleet, MemoryWorkers(fleet), lanes_max=1), ("a", "1"), ("b", "2"), ("a", "3")
    )
    assert {answer.infer_response.id for answer in answers if answer.error_message} == {"2"}


async def test_an_empty_stream_ends():
    fleet = FleetTable(a_worker("worker-1", a_slot("a")))
    assert await answers_of(streams_over(fleet, MemoryWorkers(fleet))) == []


async def test_a_client_that_stops_taking_answers_leaves_nothing_behind():
    fleet = FleetTable(a_worker("worker-1", a_slot("a")))
    streams = streams_over(fleet, MemoryWorkers(fleet), answers_max=1, requests_max=2)
    answers = streams.serve(requests(*[("a", str(index)) for index in range(50)]))
    assert (await anext(answers)).infer_response.id == "0"
    await answers.aclose()


async def asked_ahead(answer_bytes: Callable[[int], int]) -> int:
    """Return how far lanes get ahead of a slow client, in answers. Their sizes are by how many it has taken by then."""
    fleet = FleetTable(a_worker("worker-1", a_slot("a")))
    workers = MemoryWorkers(fleet)
    workers.answer_bytes = answer_bytes(0)
    streams = streams_over(fleet, workers, answer_bytes_max=400_000)
    taken, ahead = 0, 0
    async for _ in streams.serve(requests(*[("a", str(index)) for index in range(50)])):
        taken += 1
        workers.answer_bytes = answer_bytes(taken)
        for _ in range(100):  # whoever can go on does
            await asyncio.sleep(0)
        ahead = max(ahead, len(workers.answered) - taken)
    assert taken == 50
    return ahead


@pytest.mark.parametrize("small_one_in", [1_000, 8], ids=["large alone", "small ones among them"])
async def test_large_answers_are_not_asked_for_far_ahead_of_a_slow_client(
    monkeypatch: pytest.MonkeyPatch, small_one_in: int
):
    monkeypatch.setattr(lane, "GATHERING_S", 0)
    ahead = await asked_ahead(lambda taken: 100_000 if (taken + 4) % small_one_in else 10)
    assert ahead <= 8, "as many as may be under way, and as many that wait to be taken"


async def test_refusals_say_nothing_of_how_large_answers_are(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(lane, "GATHERING_S", 0)
    fleet = FleetTable(a_worker("worker-1", a_slot("a")))
    workers = MemoryWorkers(fleet)
    workers.answer_bytes = 100_000
    workers.rounds_refused = {"worker-1:1": OverloadedError("too many")}
    streams = streams_over(fleet, workers, answer_bytes_max=400_000)
    refused = 0
    async for answer in streams.serve(requests(*[("a", str(index)) for index in range(100)])):
        refused += bool(answer.error_message)
        if refused == 40:
            workers.rounds_refused = {}
    assert 40 <= refused < 100
    assert max(workers.rounds) <= 4, "as many as are asked for before anything is known"


async def test_a_client_that_leaves_while_its_requests_wait_for_room_leaves_nothing_behind(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(lane, "GATHERING_S", 0)
    fleet = FleetTable(a_worker("worker-1", a_slot("a")))
    workers = MemoryWorkers(fleet)
    workers.answer_bytes = 100_000
    answers = streams_over(fleet, workers, answer_bytes_max=150_000).serve(
        requests(*[("a", str(index)) for index in range(50)])
    )
    await anext(answers)
    for _ in range(100):
        await asyncio.sleep(0)
    assert len(workers.answered) < 50, "some of them wait"
    await answers.aclose()


async def test_large_answers_that_a_killed_worker_left_open_make_room_for_those_of_another():
    fleet = FleetTable(a_worker("worker-1", a_slot("a")), a_worker("worker-2", a_slot("a")))
    workers = MemoryWorkers(fleet)
    workers.answer_bytes = 100_000
    workers.killed_after = {"worker-1:1": 3, "worker-2:1": 40}
    pairs = [("a", str(index)) for index in range(20)]
    answers = await answers_of(streams_over(fleet, workers, answer_bytes_max=150_000), *pairs)
    assert [answer.infer_response.id for answer in answers] == [id_ for _, id_ in pairs]
    assert not any(answer.error_message for answer in answers)
