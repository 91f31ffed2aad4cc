"""A session of tritonclient against a mesh, in a process of its own: prints `ok` or dies at what failed.

Usage: python tritonclient_session.py ADDRESS. The mesh serves `digits`, and nothing of ours is imported here.
"""

from __future__ import annotations

import asyncio
import queue
import sys

import numpy as np
import tritonclient.grpc as triton
import tritonclient.grpc.aio as triton_aio
from tritonclient.utils import InferenceServerException

ROWS = np.arange(3 * 64, dtype=np.float32).reshape(3, 64) % 16


def inputs(rows: np.ndarray = ROWS) -> list[triton.InferInput]:
    """Return the input of the model."""
    image = triton.InferInput("image", list(rows.shape), "FP32")
    image.set_data_from_numpy(rows)
    return [image]


def check_sync(client: triton.InferenceServerClient) -> None:
    """Health, metadata, config, inference, statistics."""
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("digits")
    assert client.get_server_metadata().name
    metadata = client.get_model_metadata("digits")
    assert [tensor.name for tensor in metadata.inputs] == ["image"]
    assert client.get_model_config("digits").config.max_batch_size > 0
    result = client.infer("digits", inputs(), request_id="seven")
    assert result.get_response().id == "seven"
    assert result.as_numpy("label").shape == (3,)
    assert result.as_numpy("probabilities").shape == (3, 10)
    only = client.infer("digits", inputs(), outputs=[triton.InferRequestedOutput("label")])
    assert only.as_numpy("probabilities") is None
    assert client.infer("digits", inputs(), model_version="1").as_numpy("label").shape == (3,)
    before = client.get_inference_statistics("digits").model_stats[0].inference_count
    for _ in range(5):
        client.infer("digits", inputs())
    after = client.get_inference_statistics("digits").model_stats[0].inference_count
    assert after >= before
    assert client.get_inference_statistics().model_stats


def check_errors(client: triton.InferenceServerClient) -> None:
    """Codes and texts that Triton's users match on."""
    for call in (
        lambda: client.infer("nothing", inputs()),
        lambda: client.is_model_ready("nothing"),
        lambda: client.get_model_metadata("nothing"),
    ):
        error = refused(call)
        assert error.status() == "StatusCode.NOT_FOUND", error
        assert "Request for unknown model: 'nothing' is not found" in error.message(), error
    error = refused(lambda: client.infer("digits", inputs(ROWS[:, :7])))
    assert error.status() == "StatusCode.INVALID_ARGUMENT", error
    assert "image" in error.message(), error
    error = refused(client.get_system_shared_memory_status)
    assert error.status() == "StatusCode.UNIMPLEMENTED", error


def refused(call) -> InferenceServerException:
    """Return the error that `call` raises."""
    try:
        call()
    except InferenceServerException as error:
        return error
    raise AssertionError("the call should have been refused")


def check_model_control(client: triton.InferenceServerClient) -> None:
    """Index, unload, load."""
    index = client.get_model_repository_index().models
    assert ("digits", "READY") in [(model.name, model.state) for model in index]
    client.unload_model("digits")
    error = refused(lambda: client.infer("digits", inputs()))
    assert error.status() in ("StatusCode.NOT_FOUND", "StatusCode.UNAVAILABLE"), error
    client.load_model("digits")
    assert client.is_model_ready("digits")
    assert client.infer("digits", inputs()).as_numpy("label").shape == (3,)


def check_streaming(client: triton.InferenceServerClient) -> None:
    """Order and errors on one stream."""
    answers: queue.Queue = queue.Queue()
    client.start_stream(callback=lambda result, error: answers.put((result, error)))
    for number in range(20):
        client.async_stream_infer("digits", inputs(), request_id=str(number))
    ids = []
    for _ in range(20):
        result, error = answers.get(timeout=20)
        assert error is None, error
        ids.append(int(result.get_response().id))
    assert ids == list(range(20))
    client.async_stream_infer("digits", inputs(ROWS[:, :7]), request_id="bad")
    result, error = answers.get(timeout=20)
    assert error is not None
    client.async_stream_infer("digits", inputs(), request_id="good")
    result, error = answers.get(timeout=20)
    assert error is None, error
    client.stop_stream()


async def check_asyncio(address: str) -> None:
    """Many calls at once, and a stream, on an event loop."""
    async with triton_aio.InferenceServerClient(address) as client:
        assert await client.is_server_live()
        results = await asyncio.gather(*(client.infer("digits", inputs()) for _ in range(50)))
        assert all(result.as_numpy("label").shape == (3,) for result in results)

        async def requests():
            for number in range(5):
                yield {"model_name": "digits", "inputs": inputs(), "request_id": str(number)}

        seen = 0
        async for result, error in client.stream_infer(requests()):
            assert error is None, error
            assert result.as_numpy("label").shape == (3,)
            seen += 1
        assert seen == 5


def main() -> None:
    """Run every check."""
    address = sys.argv[1]
    with triton.InferenceServerClient(address) as client:
        check_sync(client)
        check_errors(client)
        check_streaming(client)
    asyncio.run(check_asyncio(address))
    with triton.InferenceServerClient(address) as client:
        check_model_control(client)
    print("ok")


if __name__ == "__main__":
    main()
