"""ModelStreamInfer for the whole mesh: each model of a stream has a lane of its own to the workers."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass

from servemesh.api.oip.v2 import inference_pb2 as pb
from servemesh.errors import OverloadedError, ServemeshError
from servemesh.gateway.service.activator import Activator
from servemesh.gateway.service.answers import Answers
from servemesh.gateway.service.lane import Asked, Lane, refusal
from servemesh.gateway.service.ports import Workers


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamLimits:
    """Bounds of one client's stream."""

    lanes_max: int = 64  # models and versions in one stream
    requests_max: int = 64  # requests of a lane that wait or are unanswered
    answers_max: int = 64  # answers that the client has not taken yet
    answer_bytes_max: int = 512 << 10  # of them, and of those that are asked for together
    attempts_max: int = 4  # workers tried for one request


class Streams:
    """Dispatches the messages of client streams; answers of one model come in the order of its requests."""

    def __init__(
        self,
        activator: Activator,
        workers: Workers,
        limits: StreamLimits,
        chance: random.Random,
    ) -> None:
        self._activator = activator
        self._workers = workers
        self._limits = limits
        self._chance = chance

    async def serve(
        self, requests: AsyncIterator[pb.ModelInferRequest]
    ) -> AsyncGenerator[pb.ModelStreamInferResponse, None]:
        """Yield the answer to every request; a request that fails is answered with its error.

        Raises what `requests` raises: of what cannot be read, nobody knows which model it is for.
        """
        limits = self._limits
        answers = Answers(answers_max=limits.answers_max, bytes_max=limits.answer_bytes_max)
        try:
            async with asyncio.TaskGroup() as group:
                feeding = group.create_task(self._feed(requests, answers))
                try:
                    while (answer := await answers.get()) is not None:
                        yield answer
                except GeneratorExit:
                    return  # the client has left; a TaskGroup would wrap what it did not expect
                finally:
                    feeding.cancel()
        except* ServemeshError as errors:
            raise _first(errors) from None

    async def _feed(self, requests: AsyncIterator[pb.ModelInferRequest], answers: Answers) -> None:
        """Hand each request to its lane; end the answers when every lane has ended."""
        lanes: dict[tuple[str, str], Lane] = {}
        async with asyncio.TaskGroup() as group:
            async for request in requests:
                key = (request.model_name, request.model_version)
                lane = lanes.get(key)
                if lane is None:
                    if len(lanes) >= self._limits.lanes_max:
                        await answers.put(refusal(key, request.id, _too_many_lanes(self._limits.lanes_max)))
                        continue
                    lane = lanes[key] = self._lane(key, answers)
                    group.create_task(lane.run())
                await lane.put(Asked(request.id, request.SerializeToString()))
            for lane in lanes.values():
                lane.end()
        await answers.put(None)

    def _lane(self, key: tuple[str, str], answers: Answers) -> Lane:
        return Lane(
            key,
            answers,
            activator=self._activator,
            workers=self._workers,
            requests_max=self._limits.requests_max,
            answer_bytes_max=self._limits.answer_bytes_max,
            attempts_max=self._limits.attempts_max,
            chance=self._chance,
        )


def _first(errors: BaseExceptionGroup[ServemeshError]) -> ServemeshError:
    first = errors.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first


def _too_many_lanes(lanes_max: int) -> OverloadedError:
    return OverloadedError(
        f"this stream has requests for {lanes_max} models and versions already, the limit; open another stream",
        reason="STREAM_LANES",
        lanes_max=lanes_max,
    )
