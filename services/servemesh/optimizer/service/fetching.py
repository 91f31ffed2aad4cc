"""Brings Sources and Datasets into the folders of jobs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from servemesh import names
from servemesh.errors import MissingError
from servemesh.lifecycle import Clock
from servemesh.optimizer.domain.records import StoredFile
from servemesh.optimizer.domain.uploading import source_digest
from servemesh.optimizer.service.storage import Store


class StoredFiles(Protocol):
    """Brings kept files back to disk."""

    async def fetch(self, files: Sequence[StoredFile], folder: Path) -> None:
        """Copy `files` to their paths below `folder`, every byte verified.

        OverloadedError DISK_FULL, DamagedError, or MissingError if they are kept no more.
        """


class StoredSources:
    """Satisfies ports.Sources. A Source that is fetched counts as used."""

    def __init__(self, store: Store, files: StoredFiles, clock: Clock) -> None:
        self._store = store
        self._files = files
        self._clock = clock

    async def fetch(self, source: str, folder: Path) -> None:
        """Copy the files of `sources/{digest}` into `folder`; MissingError if it is kept no more."""
        async with self._store.writing(source) as tx:
            found = await tx.sources.find(names.source_digest(source))
            if found is None:
                raise MissingError(
                    f"{source} does not exist (any more)", reason="SOURCE_MISSING", name=source
                )
            await tx.sources.put(replace(found, use_time=self._clock.now()))
        await self._files.fetch(found.files, folder)


class StoredDatasets:
    """Satisfies ports.Datasets."""

    def __init__(self, store: Store, files: StoredFiles) -> None:
        self._store = store
        self._files = files

    async def fetch(self, dataset: str, folder: Path) -> str:
        """Write the data folder of `datasets/{dataset}` into `folder`; returns the digest of its content and split."""
        async with self._store.reading() as tx:
            found = await tx.datasets.find(names.dataset_id(dataset))
        if found is None:
            raise MissingError(f"{dataset} does not exist", reason="DATASET_MISSING", name=dataset)
        await self._files.fetch(found.files, folder)
        # The split is in columns.json, which is one of the files.
        return source_digest([(file.path, file.sha256) for file in found.files])
