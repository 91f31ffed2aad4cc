"""What the batcher asks of a runtime, held against the real one and the one that tests use."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import pytest

from servemesh.errors import InvalidError, ServemeshError
from servemesh.runtime.sessions import RuntimeOptions
from servemesh.worker.adapters.onnx_session import OnnxSession
from servemesh.worker.domain.signature import TensorSpec
from servemesh.worker.service.execution import Array, Runtime, Stop, StoppedError
from tests.harness import models
from tests.harness.runtimes import BAD_VALUE, MemoryRuntime
from tests.harness.waiting import blocking_until


@pytest.fixture(params=["memory", "onnx"])
async def doubling(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Runtime]:
    """A runtime whose output `y` is twice its input `x`, FP32 [rows], and which refuses BAD_VALUE."""
    if request.param == "memory":
        yield MemoryRuntime()
        return
    session = await OnnxSession.open(models.saved(models.doubling(BAD_VALUE), tmp_path), RuntimeOptions())
    yield session
    session.close()


async def test_outputs_come_in_the_order_asked_for(doubling: Runtime) -> None:
    (y,) = doubling.run({"x": np.array([1, 2], np.float32)}, ["y"], Stop())
    assert y.tolist() == [2, 4]


async def test_no_rows_give_no_rows(doubling: Runtime) -> None:
    (y,) = doubling.run({"x": np.array([], np.float32)}, ["y"], Stop())
    assert y.shape == (0,)


async def test_inputs_are_left_as_they_were(doubling: Runtime) -> None:
    x: Array = np.frombuffer(np.array([1, 2], np.float32).tobytes(), np.float32)
    doubling.run({"x": x}, ["y"], Stop())
    assert x.tolist() == [1, 2]


async def test_values_that_the_model_refuses_are_the_callers_fault(doubling: Runtime) -> None:
    with pytest.raises(InvalidError):
        doubling.run({"x": np.array([BAD_VALUE], np.float32)}, ["y"], Stop())


async def test_a_run_that_is_stopped_before_it_begins_does_not_run(doubling: Runtime) -> None:
    stop = Stop()
    stop.stop()
    with pytest.raises(StoppedError):
        doubling.run({"x": np.array([1], np.float32)}, ["y"], stop)


async def test_runs_go_on_side_by_side(doubling: Runtime) -> None:
    async def run(value: int) -> list[float]:
        x: Array = np.full(3, value, np.float32)
        (y,) = await asyncio.to_thread(doubling.run, {"x": x}, ["y"], Stop())
        return list(y)

    async with asyncio.TaskGroup() as group:
        runs = [group.create_task(run(value)) for value in range(20)]
    assert [run.result() for run in runs] == [[2 * value] * 3 for value in range(20)]


async def opened(model: onnx.ModelProto, folder: Path) -> OnnxSession:
    return await OnnxSession.open(models.saved(model, folder), RuntimeOptions())


async def test_a_run_that_loops_without_end_is_stopped_from_outside(tmp_path: Path) -> None:
    session = await opened(models.counter(), tmp_path)
    stop, failures = Stop(), []

    def run() -> None:
        try:
            session.run({"times": np.array(1 << 60)}, ["count"], stop)
        except ServemeshError as error:
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    stop.stop()
    blocking_until(lambda: not thread.is_alive())
    assert [type(failure) for failure in failures] == [StoppedError]


@pytest.mark.parametrize("datatype", models.ELEMENT_OF)
async def test_every_datatype_goes_in_and_comes_out(datatype: str, tmp_path: Path) -> None:
    session = await opened(models.identity(datatype, ("rows", 2)), tmp_path)
    assert session.inputs == (TensorSpec(name="x", datatype=datatype, shape=(-1, 2)),)
    array = models.sample(datatype, (3, 2))
    (y,) = session.run({"x": array}, ["y"], Stop())
    assert y.shape == (3, 2)
    assert [str(value) for value in y.ravel()] == [
        value.decode() if isinstance(value, bytes) else str(value) for value in array.ravel()
    ]
    (empty,) = session.run({"x": array[:0]}, ["y"], Stop())
    assert empty.shape == (0, 2)


async def test_bfloat16_scalars_keep_their_bits(tmp_path: Path) -> None:
    session = await opened(models.identity("BF16", ()), tmp_path)
    x: Array = np.array(1.5, ml_dtypes.bfloat16)
    (y,) = session.run({"x": x}, ["y"], Stop())
    assert (y.dtype, y.shape, float(y)) == (x.dtype, (), 1.5)


async def test_text_that_is_not_utf8_is_refused_by_name(tmp_path: Path) -> None:
    session = await opened(models.identity("BYTES", ("rows",)), tmp_path)
    with pytest.raises(InvalidError, match=r"inputs\.x has an element that is not UTF-8"):
        session.run({"x": np.array([b"\xff"], dtype=object)}, ["y"], Stop())


async def test_what_is_no_model_is_refused_without_its_path(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"not a model")
    with pytest.raises(InvalidError) as refusal:
        await OnnxSession.open(path, RuntimeOptions())
    assert str(tmp_path) not in refusal.value.message


async def test_a_failing_run_tells_nothing_of_the_inside(tmp_path: Path) -> None:
    session = await opened(models.lookup(8), tmp_path)
    with pytest.raises(ServemeshError) as failure:
        session.run({"index": np.array([99])}, ["value"], Stop())
    assert "onnxruntime" not in failure.value.message


async def test_a_provider_that_is_missing_falls_back_to_the_processor(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = models.saved(models.identity(), tmp_path)
    wanted = ("QNNExecutionProvider", "CPUExecutionProvider")
    session = await OnnxSession.open(path, RuntimeOptions(providers=wanted))
    assert session.providers_got == ("CPUExecutionProvider",)
    assert caplog.records[0].asked == list(wanted)  # type: ignore[attr-defined]
    assert session.memory_bytes >= path.stat().st_size
