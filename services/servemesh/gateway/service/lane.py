"""One model's part of a client stream: its requests go to a worker in rounds, to another one when that goes."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from servemesh.api.oip.v2 import inference_pb2 as pb
from servemesh.errors import ServemeshError, UnavailableError
from servemesh.gateway.service.activator import Activator
from servemesh.gateway.service.answers import Answers
from servemesh.gateway.service.ports import Workers
from servemesh.rpc import stream_errors

# A round costs both processes about as much as a call, however many requests are in it: requests gather while one
# is on its way, but not for longer than this, or a slow model that can run several at once would not.
GATHERING_S = 0.002
ROUND_BYTES_MAX = 1 << 20  # unless a single request is larger
# How large answers are taken to be before one has come: a worker keeps those of a whole round for a slow client.
ANSWER_BYTES = 128 << 10
SHRINKING = 0.125  # how fast a lane believes that answers have become smaller; one small one says little


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that waits for its answer: its id, and the message as it goes on to a worker."""

    id: str
    content: bytes


class Lane:
    """Keeps the requests of one model in order, resending what a lost worker left unanswered."""

    def __init__(
        self,
        key: tuple[str, str],
        answers: Answers,
        *,
        activator: Activator,
        workers: Workers,
        requests_max: int,
        answer_bytes_max: int,
        attempts_max: int,
        chance: random.Random,
    ) -> None:
        self._key = key
        self._answers = answers
        self._activator = activator
        self._workers = workers
        self._answer_bytes_max = answer_bytes_max
        self._answer_bytes = ANSWER_BYTES
        self._attempts_max = attempts_max
        self._chance = chance
        self._room = asyncio.Semaphore(requests_max)
        self._inbox: deque[Asked] = deque()
        self._is_closed = False
        self._under_way = 0  # requests in rounds whose answers have not been handed on
        self._woken = asyncio.Event()
        self._address = ""  # of the worker that this lane keeps to
        self._avoided = ""

    async def put(self, request: Asked) -> None:
        """Add a request; waits while as many as allowed are unanswered, which holds the client back."""
        await self._room.acquire()
        self._inbox.append(request)
        self._woken.set()

    def end(self) -> None:
        """No more requests will come; `run` returns once all are answered."""
        self._is_closed = True
        self._woken.set()

    async def run(self) -> None:
        """Answer every request, in order."""
        turn = asyncio.Event()
        turn.set()
        async with asyncio.TaskGroup() as group:
            while requests := await self._gathered():
                next_turn = asyncio.Event()
                round_ = group.create_task(self._round(requests, turn, next_turn))
                await asyncio.wait([round_], timeout=GATHERING_S)
                turn = next_turn

    async def _gathered(self) -> deque[Asked]:
        """Return what has come meanwhile, once there is room for its answers; nothing only at the end."""
        while not self._has_room() if self._inbox else not self._is_closed:
            self._woken.clear()
            await self._woken.wait()
        requests: deque[Asked] = deque()
        size_bytes = 0
        while self._inbox and self._has_room():
            size_bytes += len(self._inbox[0].content)
            if requests and size_bytes > ROUND_BYTES_MAX:
                break
            requests.append(self._inbox.popleft())
            self._under_way += 1
        return requests

    def _has_room(self) -> bool:
        """Whether one more answer may come: a client that is slow to take them is not asked for ahead of."""
        return not self._under_way or (self._under_way + 1) * self._answer_bytes <= self._answer_bytes_max

    async def _round(self, requests: deque[Asked], turn: asyncio.Event, next_turn: asyncio.Event) -> None:
        """Answer `requests`, not before their turn, and give the turn on."""
        async with aclosing(self._answered(requests)) as answers:
            async for several in answers:
                await turn.wait()
                for answer in several:
                    size_bytes = await self._answers.put(answer)
                    if not answer.error_message:
                        self._answer_bytes = next_answer_bytes(self._answer_bytes, size_bytes)
                    self._room.release()
                    self._under_way -= 1
                    self._woken.set()
        next_turn.set()

    async def _answered(
        self, requests: deque[Asked]
    ) -> AsyncGenerator[Sequence[pb.ModelStreamInferResponse], None]:
        failures = 0
        while requests:
            address = ""
            try:
                address = self._address = await self._holder()
                async with aclosing(
                    self._workers.infer_many(address, [one.content for one in requests])
                ) as answers:
                    async for several in answers:
                        for _ in several:
                            requests.popleft()
                        failures = 0
                        yield several
                if requests:
                    raise UnavailableError("the worker ended before it had answered", reason="STREAM_CUT")
            except UnavailableError as error:
                self._leave(address)
                failures += 1
                if failures >= self._attempts_max:
                    failures = 0
                    yield [refusal(self._key, requests.popleft().id, error)]
            except ServemeshError as error:
                yield [refusal(self._key, request.id, error) for request in requests]
                return

    def _leave(self, address: str) -> None:
        self._avoided = address
        if self._address == address:
            self._address = ""

    async def _holder(self) -> str:
        """Return the address of the worker to ask: the same one as long as it answers for the model."""
        holdings = await self._activator.holdings(*self._key)
        addresses = [holding.worker.address for holding in holdings]
        if self._address in addresses:
            return self._address
        return self._chance.choice([one for one in addresses if one != self._avoided] or addresses)


def next_answer_bytes(believed_bytes: int, seen_bytes: int) -> int:
    """Return how large the next answer is taken to be: as the last one, or a little less than was believed so far."""
    return max(seen_bytes, int(believed_bytes * (1 - SHRINKING)))


def refusal(key: tuple[str, str], request_id: str, error: ServemeshError) -> pb.ModelStreamInferResponse:
    """Return the answer that tells the client what went wrong with a request for this model and version."""
    model, version = key
    response = pb.ModelInferResponse(model_name=model, model_version=version, id=request_id)
    stream_errors.mark(response, error)
    return pb.ModelStreamInferResponse(error_message=error.message, infer_response=response)
