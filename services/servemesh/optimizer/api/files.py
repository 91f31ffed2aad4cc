"""Sources and Datasets on the wire: message in, one call, message out."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from servemesh import names
from servemesh.api.optimizer.v1 import optimizer_pb2 as pb
from servemesh.errors import InvalidError
from servemesh.optimizer.api.job_messages import to_time
from servemesh.optimizer.domain.records import Dataset, Source
from servemesh.optimizer.domain.splits import Shares
from servemesh.optimizer.domain.uploading import DeclaredFile
from servemesh.optimizer.service.datasets import DatasetBook
from servemesh.optimizer.service.sources import Piece, SourceBook
from servemesh.requests import page_of, request_key

Context = Any


class FilesApi:
    """The part of OptimizerService that takes files; the servicer inherits from it."""

    def __init__(self, sources: SourceBook, datasets: DatasetBook) -> None:
        self._sources = sources
        self._datasets = datasets

    async def UploadSource(
        self, request_iterator: AsyncIterator[pb.UploadSourceRequest], context: Context
    ) -> pb.UploadSourceResponse:
        """Receive the files of a Source."""
        first = await _first(request_iterator)
        files = [
            DeclaredFile(path=file.path, size_bytes=file.size_bytes, sha256=file.sha256)
            for file in first.source.files
        ]
        source = await self._sources.upload(files, _pieces(first, request_iterator))
        return pb.UploadSourceResponse(source=_to_source(source))

    async def GetDataset(self, request: pb.GetDatasetRequest, context: Context) -> pb.GetDatasetResponse:
        """Return one Dataset."""
        dataset = await self._datasets.get(names.dataset_id(request.name))
        return pb.GetDatasetResponse(dataset=_to_dataset(dataset))

    async def ListDatasets(
        self, request: pb.ListDatasetsRequest, context: Context
    ) -> pb.ListDatasetsResponse:
        """List Datasets."""
        page = await self._datasets.list(page_of(request))
        return pb.ListDatasetsResponse(
            datasets=[_to_dataset(dataset) for dataset in page.items], next_page_token=page.next_page_token
        )

    async def CreateDataset(
        self, request: pb.CreateDatasetRequest, context: Context
    ) -> pb.CreateDatasetResponse:
        """Read a Source as a Dataset."""
        wish = request.dataset
        dataset = await self._datasets.create(
            request.dataset_id,
            wish.source,
            wish.label_columns,
            _from_split(wish.split),
            request_key(request),
        )
        return pb.CreateDatasetResponse(dataset=_to_dataset(dataset))

    async def DeleteDataset(
        self, request: pb.DeleteDatasetRequest, context: Context
    ) -> pb.DeleteDatasetResponse:
        """Delete a Dataset."""
        await self._datasets.delete(names.dataset_id(request.name))
        return pb.DeleteDatasetResponse()


async def _first(stream: AsyncIterator[pb.UploadSourceRequest]) -> pb.UploadSourceRequest:
    async for first in stream:
        return first
    raise InvalidError(
        "the stream has no message, expected one with source", reason="STREAM_EMPTY", field="source"
    )


async def _pieces(
    first: pb.UploadSourceRequest, rest: AsyncIterator[pb.UploadSourceRequest]
) -> AsyncIterator[Piece]:
    if first.path or first.data:
        yield Piece(path=first.path, data=first.data)
    async for message in rest:
        if message.HasField("source"):
            raise InvalidError(
                "source belongs in the first message of the stream only",
                reason="STREAM_MISUSED",
                field="source",
            )
        yield Piece(path=message.path, data=message.data)


def _from_split(split: pb.DatasetSplit) -> Shares:
    shares = (split.calibrate_percent, split.train_percent, split.evaluate_percent)
    if not any(shares):
        return Shares(seed=split.seed)
    return Shares(calibrate=shares[0], train=shares[1], evaluate=shares[2], seed=split.seed)


def _to_source(source: Source) -> pb.Source:
    return pb.Source(
        name=source.name,
        files=[
            pb.SourceFile(path=file.path, size_bytes=file.size_bytes, sha256=file.sha256)
            for file in source.files
        ],
        size_bytes=source.size_bytes,
    )


def _to_dataset(dataset: Dataset) -> pb.Dataset:
    shares = dataset.shares
    return pb.Dataset(
        name=dataset.name,
        source=dataset.source,
        label_columns=dataset.label_columns,
        split=pb.DatasetSplit(
            calibrate_percent=shares.calibrate,
            train_percent=shares.train,
            evaluate_percent=shares.evaluate,
            seed=shares.seed,
        ),
        format=pb.DatasetFormat.Value(f"DATASET_FORMAT_{dataset.format.upper()}"),
        columns=[
            pb.DatasetColumn(
                name=column.name, datatype=column.datatype, row_shape=column.row_shape, label=column.label
            )
            for column in dataset.columns
        ],
        row_count=dataset.row_count,
        size_bytes=dataset.size_bytes,
        create_time=to_time(dataset.create_time),
    )
