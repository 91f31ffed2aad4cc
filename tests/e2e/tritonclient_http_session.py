"""A session of tritonclient.http against a mesh, in a process of its own: prints `ok` or dies at what failed.

Usage: python tritonclient_http_session.py ADDRESS. The mesh serves `digits`, and nothing of ours is imported here.
"""

from __future__ import annotations

import asyncio
import sys

import numpy as np
import tritonclient.http as triton
import tritonclient.http.aio as triton_aio
from tritonclient.utils import InferenceServerException

ROWS = np.arange(3 * 64, dtype=np.float32).reshape(3, 64) % 16


def inputs(rows: np.ndarray = ROWS, *, binary: bool = True) -> list[triton.InferInput]:
    """Return the input of the model."""
    image = triton.InferInput("image", list(rows.shape), "FP32")
    image.set_data_from_numpy(rows, binary_data=binary)
    return [image]


def check_health(client: triton.InferenceServerClient) -> None:
    """Health, metadata, configuration, statistics."""
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("digits")
    assert client.is_model_ready("digits", "1")
    assert not client.is_model_ready("nothing")
    assert "binary_tensor_data" in client.get_server_metadata()["extensions"]
    metadata = client.get_model_metadata("digits")
    assert [tensor["name"] for tensor in metadata["inputs"]] == ["image"]
    assert metadata["inputs"][0]["shape"] == [-1, 64]
    assert client.get_model_config("digits")["max_batch_size"] > 0
    statistics = client.get_inference_statistics("digits")["model_stats"][0]
    assert statistics["inference_stats"]["success"]["count"] >= 0
    assert client.get_inference_statistics()["model_stats"]


def check_infer(client: triton.InferenceServerClient) -> None:
    """JSON and binary, both ways, must say the same."""
    plain = client.infer("digits", inputs(binary=False), request_id="seven", outputs=wanted(binary=False))
    binary = client.infer("digits", inputs(), request_id="seven", outputs=wanted(binary=True))
    mixed = client.infer("digits", inputs(), model_version="1")
    for result in (plain, binary, mixed):
        assert result.as_numpy("label").shape == (3,)
        assert np.array_equal(result.as_numpy("probabilities"), plain.as_numpy("probabilities"))
    assert plain.get_response()["id"] == binary.get_response()["id"] == "seven"
    only = client.infer("digits", inputs(), outputs=[triton.InferRequestedOutput("label")])
    assert only.as_numpy("probabilities") is None
    best = triton.InferRequestedOutput("probabilities", class_count=2)
    assert client.infer("digits", inputs(), outputs=[best]).as_numpy("probabilities").shape[-1] == 2
    assert client.infer("digits", inputs(), priority=1, timeout=5_000_000).as_numpy("label").shape == (3,)


def wanted(*, binary: bool) -> list[triton.InferRequestedOutput]:
    """Return all outputs, as they are to come."""
    return [triton.InferRequestedOutput(name, binary_data=binary) for name in ("label", "probabilities")]


def check_errors(client: triton.InferenceServerClient) -> None:
    """Statuses and texts that Triton's users match on."""
    error = refused(lambda: client.infer("nothing", inputs()))
    assert error.status() == "404", error
    assert "Request for unknown model: 'nothing' is not found" in error.message(), error
    error = refused(lambda: client.infer("digits", inputs(ROWS[:, :7])))
    assert error.status() == "400", error
    assert "image" in error.message(), error
    compressed = refused(lambda: client.infer("digits", inputs(), request_compression_algorithm="gzip"))
    assert compressed.status() == "415", compressed


def refused(call) -> InferenceServerException:
    """Return the error that `call` raises."""
    try:
        call()
    except InferenceServerException as error:
        return error
    raise AssertionError("the call should have been refused")


def check_model_control(client: triton.InferenceServerClient) -> None:
    """Index, unload, load."""
    index = client.get_model_repository_index()
    assert ("digits", "READY") in [(model["name"], model["state"]) for model in index]
    client.unload_model("digits")
    assert refused(lambda: client.infer("digits", inputs())).status() in ("404", "503")
    client.load_model("digits")
    assert client.is_model_ready("digits")
    assert client.infer("digits", inputs()).as_numpy("label").shape == (3,)


async def check_asyncio(address: str) -> None:
    """Many calls at once on an event loop."""
    async with triton_aio.InferenceServerClient(address) as client:
        assert await client.is_server_live()
        results = await asyncio.gather(*(client.infer("digits", inputs()) for _ in range(20)))
        assert all(result.as_numpy("label").shape == (3,) for result in results)


def main() -> None:
    """Run every check."""
    address = sys.argv[1]
    client = triton.InferenceServerClient(address, concurrency=4)
    check_health(client)
    check_infer(client)
    check_errors(client)
    asyncio.run(check_asyncio(address))
    pending = [client.async_infer("digits", inputs()) for _ in range(20)]
    assert all(each.get_result().as_numpy("label").shape == (3,) for each in pending)
    check_model_control(client)
    client.close()
    print("ok")


if __name__ == "__main__":
    main()
