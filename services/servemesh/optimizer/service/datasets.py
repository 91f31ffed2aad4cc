"""Datasets: a Source read once as rows of named columns, and kept as a data folder that jobs use."""

from __future__ import annotations

import asyncio
import hashlib
import uuid
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from servemesh import names
from servemesh.blobs.ports import BlobStore
from servemesh.errors import ConflictError, ExistsError, MissingError
from servemesh.lifecycle import Clock
from servemesh.optimizer.domain.asking import Bounds, check_room
from servemesh.optimizer.domain.datasets import Column
from servemesh.optimizer.domain.records import Dataset, StoredFile, blob_key
from servemesh.optimizer.domain.splits import Shares
from servemesh.optimizer.domain.work import WorkLimits
from servemesh.optimizer.service.ports import ChildTasks, Folders, Sources
from servemesh.optimizer.service.recording import answered, request_lock
from servemesh.optimizer.service.storage import Store, Transaction
from servemesh.paging import Page, PageRequest
from servemesh.requests import RequestKey

DATASETS_LOCK = "datasets"


class DatasetBook:
    """Makes and keeps them; `fetching.StoredDatasets` brings them to jobs."""

    def __init__(
        self,
        store: Store,
        blobs: BlobStore,
        folders: Folders,
        sources: Sources,
        children: ChildTasks,
        clock: Clock,
        bounds: Bounds,
        examine_limits: WorkLimits,
    ) -> None:
        self._store = store
        self._blobs = blobs
        self._folders = folders
        self._sources = sources
        self._children = children
        self._clock = clock
        self._bounds = bounds
        self._examine_limits = examine_limits

    async def get(self, dataset_id: str) -> Dataset:
        """The Dataset; MissingError if there is none."""
        async with self._store.reading() as tx:
            return await _found(tx, dataset_id)

    async def list(self, page: PageRequest) -> Page[Dataset]:
        """In order of id."""
        async with self._store.reading() as tx:
            rows = await tx.datasets.list(after=page.after, limit=page.fetch)
        return page.page(rows, lambda dataset: dataset.dataset_id)

    async def create(
        self,
        dataset_id: str,
        source: str,
        labels: Sequence[str],
        shares: Shares,
        request: RequestKey | None = None,
    ) -> Dataset:
        """Read the Source and keep its rows. ExistsError if there is one of that name."""
        name = names.dataset(dataset_id)
        names.source_digest(source)
        async with self._store.reading() as tx:
            # Reading takes a while: what is refused in the end is refused before it, where that can be seen.
            known = await tx.requests.find(request.request_id) if request is not None else None
            if known is None:
                await self._check_free(tx, dataset_id)
        async with self._folders.opened() as folder:
            made = None if known is not None else await self._read(dataset_id, source, labels, shares, folder)
        now = self._clock.now()
        async with self._store.writing(DATASETS_LOCK, source, *request_lock(request)) as tx:

            async def work() -> str:
                await self._check_free(tx, dataset_id)
                assert made is not None
                await tx.blob_owners.add(made.owner)
                await tx.datasets.put(replace(made, create_time=now))
                return name

            return await _found(tx, names.dataset_id(await answered(tx, request, now, work)))

    async def delete(self, dataset_id: str) -> None:
        """Forget it. ConflictError IN_USE while a job that has not ended uses it."""
        async with self._store.writing(DATASETS_LOCK, "jobs") as tx:
            dataset = await _found(tx, dataset_id)
            users = await tx.jobs.users_of(dataset.name)
            if users:
                raise ConflictError(
                    f"{dataset.name} is in use by {', '.join(users)}; wait for them or cancel them",
                    reason="IN_USE",
                    name=dataset.name,
                    used_by=", ".join(users),
                )
            await tx.datasets.delete(dataset_id)
            await tx.blob_owners.delete(dataset.owner)

    async def _read(
        self, dataset_id: str, source: str, labels: Sequence[str], shares: Shares, folder: Path
    ) -> Dataset:
        await self._sources.fetch(source, folder / "source")
        arguments = {
            "source": "source",
            "out": "data",
            "labels": list(labels),
            "split": {
                "calibrate": shares.calibrate,
                "train": shares.train,
                "evaluate": shares.evaluate,
                "seed": shares.seed,
            },
        }
        answer = await self._children.run(
            "examine", arguments, folder, self._examine_limits, lambda share, step: None, lambda text: None
        )
        owner = f"d{uuid.uuid4().hex}"
        files = await self._stored(folder / "data", owner)
        return Dataset(
            dataset_id=dataset_id,
            source=source,
            label_columns=tuple(labels),
            shares=shares,
            format=str(answer["format"]),
            columns=tuple(_column(column) for column in answer["columns"]),
            row_count=int(answer["row_count"]),
            size_bytes=sum(file.size_bytes for file in files),
            owner=owner,
            files=files,
            create_time=self._clock.now(),
        )

    async def _stored(self, folder: Path, owner: str) -> tuple[StoredFile, ...]:
        """Put the data folder into the object store; its blobs are nobody's until the Dataset's row is there."""
        kept = []
        for number, path in enumerate(await asyncio.to_thread(_files, folder)):
            sha256, size_bytes = await asyncio.to_thread(_digest, path)
            key = blob_key(owner, number)
            await self._blobs.put_file(key, path, sha256=sha256)
            kept.append(StoredFile(path=path.name, size_bytes=size_bytes, sha256=sha256, key=key))
        return tuple(kept)

    async def _check_free(self, tx: Transaction, dataset_id: str) -> None:
        name = names.dataset(dataset_id)
        if await tx.datasets.find(dataset_id) is not None:
            raise ExistsError(f"{name} exists already", reason="DATASET_EXISTS", name=name)
        check_room(await tx.datasets.count(), self._bounds.datasets_max, "datasets", "DATASETS_MAX")


async def _found(tx: Transaction, dataset_id: str) -> Dataset:
    dataset = await tx.datasets.find(dataset_id)
    if dataset is None:
        name = names.dataset(dataset_id)
        raise MissingError(f"{name} does not exist", reason="DATASET_MISSING", name=name)
    return dataset


def _column(column: dict[str, Any]) -> Column:
    return Column(
        name=column["name"],
        datatype=column["datatype"],
        row_shape=tuple(column["row_shape"]),
        label=bool(column["label"]),
    )


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_file())


def _digest(path: Path) -> tuple[str, int]:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest(), file.tell()
