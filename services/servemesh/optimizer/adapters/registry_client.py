"""The registry as the optimizer needs it: Versions fetched by digest, and Versions registered with their lineage."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from servemesh import names
from servemesh.api.registry.v1 import registry_pb2 as pb
from servemesh.blobs.keys import blob_key
from servemesh.blobs.ports import BlobStore
from servemesh.client import models, transfers
from servemesh.client.attempts import Addresses
from servemesh.client.awaiting import AwaitingRunner
from servemesh.client.results import Version
from servemesh.client.retries import RetryPolicy
from servemesh.client.steps import Call, Operation
from servemesh.errors import MissingError, StaleError
from servemesh.optimizer.adapters.blob_folders import BlobFolders, FolderSettings
from servemesh.optimizer.domain.records import StoredFile
from servemesh.optimizer.service.ports import FetchedVersion

BUSY_WAIT_S = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistrySettings:
    """Where registries are, and how long a call to one and a transfer may take."""

    addresses: tuple[str, ...]
    call_s_max: float = 30.0
    transfer_s_max: float = 3_600.0


class RegistryClient:
    """Satisfies ports.Versions."""

    def __init__(self, runner: AwaitingRunner, folders: BlobFolders, settings: RegistrySettings) -> None:
        self._runner = runner
        self._folders = folders
        self._settings = settings

    @classmethod
    @asynccontextmanager
    async def running(
        cls, settings: RegistrySettings, blobs: BlobStore, folders: FolderSettings
    ) -> AsyncIterator[RegistryClient]:
        """Offer the registry for the length of the block; it may be away then."""
        runner = AwaitingRunner(Addresses(settings.addresses), RetryPolicy(), random.random)
        try:
            yield cls(runner, BlobFolders(blobs, folders), settings)
        finally:
            await runner.close()

    async def resolve(self, name: str) -> str:
        """The Version's name for that of a Version or an Alias; MissingError if there is none."""
        found = await self._runner.run(_found(name), self._settings.call_s_max)
        return names.version(found.model, found.version)

    async def fetch(self, version: str, folder: Path) -> FetchedVersion:
        """Copy the files of a Version into `folder`, verified."""
        found = await self._runner.run(_found(version), self._settings.call_s_max)
        files = [
            StoredFile(
                path=file.path, size_bytes=file.size_bytes, sha256=file.sha256, key=blob_key(file.sha256)
            )
            for file in found.files
        ]
        await self._folders.fetch(files, folder)
        return FetchedVersion(
            name=names.version(found.model, found.version),
            entry=found.entry_path,
            sha256=found.sha256,
            size_bytes=found.size_bytes,
            labels=found.labels,
        )

    async def register(
        self,
        model: str,
        folder: Path,
        *,
        source_versions: Sequence[str],
        labels: Mapping[str, str],
        request_id: str,
    ) -> str:
        """Make the files of `folder` a new Version of the Model and return its name; one for each request_id."""
        until_s = asyncio.get_running_loop().time() + self._settings.transfer_s_max
        while True:
            operation = transfers.push(
                names.model_id(model),
                folder,
                labels,
                _silent,
                source_versions=source_versions,
                request_id=request_id,
            )
            try:
                made = await self._runner.run(operation, until_s - asyncio.get_running_loop().time())
                break
            except StaleError:
                # Whoever had the job before is still at work on the same Upload.
                if asyncio.get_running_loop().time() + BUSY_WAIT_S > until_s:
                    raise
                await asyncio.sleep(BUSY_WAIT_S)
        return names.version(made.model, made.version)

    async def set_alias(self, alias: str, version: str) -> None:
        """Point an Alias to a Version; nothing happens if it points there."""
        await self._runner.run(_pointed(alias, version), self._settings.call_s_max)


def _found(name: str) -> Operation[Version]:
    model_id, version = names.alias_ids(name) if names.is_alias(name) else names.version_ids(name)
    return (yield from models.version_of(model_id, version))


def _pointed(alias: str, version: str) -> Operation[None]:
    try:
        found: pb.Alias = (yield Call(request=pb.GetAliasRequest(name=alias))).alias
        if found.version == version:
            return
    except MissingError:
        pass  # it is made now
    yield Call(request=pb.SetAliasRequest(alias=pb.Alias(name=alias, version=version)))


def _silent(moved_bytes: int, total_bytes: int) -> None:
    """Tell nobody."""
