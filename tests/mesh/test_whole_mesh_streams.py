"""ModelStreamInfer through the gateway: every message is answered once, whatever becomes of workers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import grpc

from servemesh.api.oip.v2 import inference_pb2 as oip
from servemesh.client import inference
from tests.harness import models
from tests.harness.mesh import mesh

COUNT = 60
STOP_S = 3.0


def _request(number: int, model: str = "net", *, width: int = 4) -> oip.ModelInferRequest:
    message = inference.request(model, {"x": models.sample("FP32", (1, width))})
    message.id = str(number)
    return message


async def test_a_stream_is_answered_in_order_with_errors_in_their_places(tmp_path: Path) -> None:
    async with mesh(tmp_path, workers=2, has_edge=True) as m:
        await m.push("net")
        await m.deploy("net", replicas=2)

        async def requests() -> AsyncIterator[oip.ModelInferRequest]:
            for number in range(COUNT):
                yield _request(number, width=5 if number % 10 == 3 else 4)

        answers = [answer async for answer in m.inference.ModelStreamInfer(requests(), timeout=20)]
        assert [answer.infer_response.id for answer in answers] == [str(number) for number in range(COUNT)]
        failed = {index for index, answer in enumerate(answers) if answer.error_message}
        assert failed == {number for number in range(COUNT) if number % 10 == 3}
        assert "4" in answers[3].error_message


async def test_models_of_one_stream_do_not_wait_for_each_other(tmp_path: Path) -> None:
    async with mesh(tmp_path, workers=2, has_edge=True) as m:
        await m.push("net")
        await m.deploy("net", replicas=1)
        await m.push("slow")
        await m.control.deploy("slow", replicas=0)
        m.blobs.is_open.clear()
        loaded = asyncio.Event()

        async def requests() -> AsyncIterator[oip.ModelInferRequest]:
            yield _request(0, "slow")
            yield _request(1, "net")
            yield _request(2, "nobody")
            await loaded.wait()

        call = m.inference.ModelStreamInfer(requests(), timeout=20)
        first = {(await call.read()).infer_response.id for _ in range(2)}
        assert first == {"1", "2"}
        m.blobs.is_open.set()
        last = await call.read()
        assert (last.infer_response.id, last.error_message) == ("0", "")
        loaded.set()


async def test_a_worker_that_stops_in_the_middle_costs_a_stream_nothing(tmp_path: Path) -> None:
    async with mesh(tmp_path, workers=2, has_edge=True) as m:
        await m.push("net")
        await m.deploy("net", replicas=2)
        stopped = asyncio.Event()

        async def requests() -> AsyncIterator[oip.ModelInferRequest]:
            for number in range(COUNT):
                if number == COUNT // 2:
                    await stopped.wait()
                yield _request(number)
                await asyncio.sleep(0)

        call = m.inference.ModelStreamInfer(requests(), timeout=20)
        answers = [await call.read() for _ in range(COUNT // 4)]
        first, second = m.workers.values()
        # The stream is idle now, and a worker that stops does not wait for it.
        for worker in (first, second):
            async with asyncio.timeout(STOP_S):
                await worker.stop()
            if worker is first:
                await first.start()
                await m.until_held("net", 1, by=2)
        stopped.set()
        while (answer := await call.read()) is not grpc.aio.EOF:
            answers.append(answer)
        assert [answer.infer_response.id for answer in answers] == [str(number) for number in range(COUNT)]
        assert {answer.error_message for answer in answers} == {""}
