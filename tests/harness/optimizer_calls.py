"""Calls to an optimizer over gRPC, and the small model and data that tests give it."""

from __future__ import annotations

import io
import warnings
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from functools import cache

import grpc
import numpy as np
import skops.io
from sklearn.neural_network import MLPClassifier

from servemesh.api.optimizer.v1 import optimizer_pb2 as pb
from servemesh.api.optimizer.v1 import optimizer_pb2_grpc as pb_grpc
from servemesh.rpc import client

PIECE_BYTES = 100_000
CALL_TIMEOUT_S = 60.0
ROWS = 200


def inputs() -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    """Rows of four numbers."""
    return np.random.default_rng(0).normal(size=(ROWS, 4)).astype(np.float32)


def labels() -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Whether the first number of a row is above 0."""
    return (inputs()[:, 0] > 0).astype(np.int64)


@cache
def a_program(seed: int = 0) -> bytes:
    """A small neural network, as skops saves it: in other bytes each time."""
    network = MLPClassifier(hidden_layer_sizes=(256, 256), max_iter=30, random_state=seed)
    with warnings.catch_warnings(action="ignore"):  # it has not converged, and needs not
        return skops.io.dumps(network.fit(inputs(), labels()))


def some_data() -> bytes:
    """Inputs and labels, as NumPy saves them."""
    buffer = io.BytesIO()
    np.savez(buffer, input=inputs(), label=labels())
    return buffer.getvalue()


class OptimizerCalls:
    """What a user does, one call after the other."""

    def __init__(self, channel: grpc.aio.Channel, address: str) -> None:
        self.address = address
        self.stub = pb_grpc.OptimizerServiceStub(channel)

    async def uploaded(self, files: Mapping[str, bytes]) -> str:
        """Upload files and return the name of the Source."""
        response = await self.stub.UploadSource(upload(files), timeout=CALL_TIMEOUT_S)
        return response.source.name

    async def with_dataset(self, name: str) -> pb.Dataset:
        """Make a Dataset of `some_data` and return it."""
        source = await self.uploaded({"data.npz": some_data()})
        wish = pb.Dataset(source=source, label_columns=["label"])
        request = pb.CreateDatasetRequest(dataset_id=name, dataset=wish)
        return (await self.stub.CreateDataset(request, timeout=CALL_TIMEOUT_S)).dataset

    async def converting(self, model: str, program: bytes, *, request_id: str = "") -> str:
        """Ask that a scikit-learn program be converted, and return the job's name."""
        source = await self.uploaded({"model.skops": program})
        wish = pb.Conversion(source=source, model=f"models/{model}")
        request = pb.CreateConversionRequest(conversion=wish, request_id=request_id)
        return (await self.stub.CreateConversion(request, timeout=CALL_TIMEOUT_S)).conversion.name

    async def states(self, name: str, timeout_s: float = 90.0) -> list[pb.Job]:
        """Watch a job to its end and return every state that was told."""
        call = self.stub.WatchJob(pb.WatchJobRequest(name=name), timeout=timeout_s)
        return [response.job async for response in call]

    async def log(self, name: str) -> list[str]:
        """The lines of a job's log."""
        request = pb.ListJobLogLinesRequest(parent=name)
        response = await self.stub.ListJobLogLines(request, timeout=CALL_TIMEOUT_S)
        return [line.text for line in response.job_log_lines]


@asynccontextmanager
async def optimizer_at(address: str) -> AsyncIterator[OptimizerCalls]:
    """Connect to an optimizer."""
    async with client.channel(address) as channel:
        yield OptimizerCalls(channel, address)


def upload(files: Mapping[str, bytes]) -> Iterator[pb.UploadSourceRequest]:
    """The messages that upload files."""
    declared = [pb.SourceFile(path=path, size_bytes=len(data)) for path, data in files.items()]
    yield pb.UploadSourceRequest(source=pb.Source(files=declared))
    for path, data in files.items():
        for begin in range(0, len(data), PIECE_BYTES):
            yield pb.UploadSourceRequest(path=path, data=data[begin : begin + PIECE_BYTES])
