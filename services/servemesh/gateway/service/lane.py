"""One model's part of a client stream: a long-lived stream to a worker, another one when that worker goes."""

from __future__ import annotations

import asyncio
import random
from collections import deque

from servemesh.api.oip.v2 import inference_pb2 as pb
from servemesh.errors import ServemeshError, UnavailableError
from servemesh.gateway.domain.fleet import Holding, SlotState
from servemesh.gateway.service.activator import Activator
from servemesh.gateway.service.fleet_view import FleetView
from servemesh.gateway.service.ports import Workers, WorkerStream
from servemesh.rpc import stream_errors

Answers = asyncio.Queue[pb.ModelStreamInferResponse | None]


class Lane:
    """Keeps the requests of one model in order, resending what a lost worker left unanswered."""

    def __init__(
        self,
        key: tuple[str, str],
        answers: Answers,
        *,
        fleet: FleetView,
        activator: Activator,
        workers: Workers,
        requests_max: int,
        attempts_max: int,
        chance: random.Random,
    ) -> None:
        self._key = key
        self._answers = answers
        self._fleet = fleet
        self._activator = activator
        self._workers = workers
        self._attempts_max = attempts_max
        self._chance = chance
        self._room = asyncio.Semaphore(requests_max)
        self._inbox: deque[pb.ModelInferRequest] = deque()
        self._unanswered: deque[pb.ModelInferRequest] = deque()
        self._is_closed = False
        self._woken = asyncio.Event()
        self._failures = 0
        self._avoided = ""

    async def put(self, request: pb.ModelInferRequest) -> None:
        """Add a request; waits while as many as allowed are unanswered, which holds the client back."""
        await self._room.acquire()
        self._inbox.append(request)
        self._woken.set()

    async def end(self) -> None:
        """No more requests will come; `run` returns once all are answered."""
        self._is_closed = True
        self._woken.set()

    async def run(self) -> None:
        """Answer every request, in order."""
        while await self._has_work():
            try:
                holding = await self._holder()
                await self._converse(holding)
            except UnavailableError as error:
                await self._count_failure(error)
            except ServemeshError as error:
                await self._refuse_all(error)

    async def _has_work(self) -> bool:
        while not self._unanswered and not self._inbox and not self._is_closed:
            await self._awoken()
        if not self._unanswered and self._inbox:
            self._unanswered.append(self._inbox.popleft())
        return bool(self._unanswered)

    async def _awoken(self) -> None:
        self._woken.clear()
        await self._woken.wait()

    async def _holder(self) -> Holding:
        holdings = await self._activator.holdings(*self._key)
        others = [holding for holding in holdings if holding.worker.address != self._avoided]
        choices = others or list(holdings)
        return self._chance.choice(choices)

    async def _converse(self, holding: Holding) -> None:
        """Speak with one worker until it goes, no longer holds the model, or all is answered and ended."""
        address = holding.worker.address
        try:
            async with self._workers.stream(address) as stream, asyncio.TaskGroup() as group:
                writing = group.create_task(self._write(stream, address))
                watching = group.create_task(self._watch(address))
                await self._read(stream)
                writing.cancel()
                watching.cancel()
        except* ServemeshError as errors:
            self._avoided = address
            raise errors.exceptions[0] from None

    async def _write(self, stream: WorkerStream, address: str) -> None:
        for request in tuple(self._unanswered):
            await stream.write(request)
        while self._holds(address):
            while self._inbox:
                request = self._inbox.popleft()
                self._unanswered.append(request)
                await stream.write(request)
            if self._is_closed:
                break
            await self._awoken()
        await stream.done_writing()

    async def _watch(self, address: str) -> None:
        """Have the stream ended, also an idle one, when the worker takes no more calls: it waits for that."""
        while self._holds(address):
            await self._fleet.changed_from(self._fleet.fleet.revision)
        self._woken.set()

    def _holds(self, address: str) -> bool:
        ready = self._fleet.fleet.holdings(*self._key, states=(SlotState.READY,))
        return any(holding.worker.address == address for holding in ready)

    async def _read(self, stream: WorkerStream) -> None:
        while (answer := await stream.read()) is not None:
            if not self._unanswered:
                continue  # nothing was asked: not ours to pass on
            self._unanswered.popleft()
            self._failures = 0
            await self._answers.put(answer)
            self._room.release()
        if self._unanswered:
            raise UnavailableError("the worker ended the stream before it had answered", reason="STREAM_CUT")

    async def _count_failure(self, error: UnavailableError) -> None:
        self._failures += 1
        if self._failures >= self._attempts_max and self._unanswered:
            self._failures = 0
            await self._refuse(self._unanswered.popleft(), error)

    async def _refuse_all(self, error: ServemeshError) -> None:
        while self._unanswered:
            await self._refuse(self._unanswered.popleft(), error)

    async def _refuse(self, request: pb.ModelInferRequest, error: ServemeshError) -> None:
        await self._answers.put(refusal(request, error))
        self._room.release()


def refusal(request: pb.ModelInferRequest, error: ServemeshError) -> pb.ModelStreamInferResponse:
    """Return the answer that tells the client what went wrong with this request."""
    response = pb.ModelInferResponse(
        model_name=request.model_name, model_version=request.model_version, id=request.id
    )
    stream_errors.mark(response, error)
    return pb.ModelStreamInferResponse(error_message=error.message, infer_response=response)
