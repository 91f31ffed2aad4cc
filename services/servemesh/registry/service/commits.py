"""Commits: a complete Upload is verified, examined, stored under its digests and published as a Version."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from pathlib import Path

from servemesh import names
from servemesh.blobs.keys import blob_key
from servemesh.blobs.ports import BlobStore
from servemesh.errors import ConflictError, DamagedError, UnavailableError
from servemesh.registry.domain.models import ArtifactFile, ModelVersion
from servemesh.registry.domain.uploads import Upload
from servemesh.registry.service.ports import Clock
from servemesh.registry.service.uploads import Examiner, Occupied, Staging, UploadCatalog, damaged

VERIFIED_MAX = 4_096
RETRY_AFTER_S = 5.0


class Commits:
    """Every step may be cut off and repeated: nothing is visible before the last one, and nothing is lost."""

    def __init__(
        self,
        catalog: UploadCatalog,
        staging: Staging,
        occupied: Occupied,
        examiner: Examiner,
        blobs: BlobStore,
        clock: Clock,
    ) -> None:
        self._catalog = catalog
        self._staging = staging
        self._occupied = occupied
        self._examiner = examiner
        self._blobs = blobs
        self._clock = clock
        # A commit that its deadline cut off does not read the blobs again that it had read back already.
        self._verified: OrderedDict[str, None] = OrderedDict()

    async def commit(self, name: str, *, request_id: str = "") -> tuple[ModelVersion, tuple[str, ...]]:
        """Publish the Upload; returns the Version and what the user should know.

        Repeated after success it returns the same Version, and so does another Upload of the same files with the
        same request_id. ConflictError UPLOAD_INCOMPLETE while bytes are missing,
        DamagedError if they are not the declared ones, InvalidError with the reason if the model is refused,
        UnavailableError while the object store is away: the Upload is kept then and can be committed again.
        """
        upload = await self._catalog.get_upload(*names.upload_ids(name))
        if upload.version_id is not None:
            version = await self._catalog.get_version(upload.model_id, upload.version_id)
            return version, upload.warnings
        with self._occupied.holding(upload):
            return await self._publish(upload, request_id)

    async def _publish(self, upload: Upload, request_id: str) -> tuple[ModelVersion, tuple[str, ...]]:
        await self._check_complete(upload)
        upload = upload.with_digests(
            [await self._digest(upload, index) for index in range(len(upload.files))]
        )
        admitted = await self._examiner.examine(
            {file.path: self._staging.path(upload, index) for index, file in enumerate(upload.files)}
        )
        await self._catalog.claim_blobs(upload)
        for index, file in enumerate(upload.files):
            await self._store(file, self._staging.path(upload, index))
        version = await self._catalog.commit_upload(
            upload, admitted, now=self._clock.now(), request_id=request_id
        )
        await self._staging.remove(upload.model_id, upload.upload_id)
        return version, admitted.warnings

    async def _check_complete(self, upload: Upload) -> None:
        received = await self._staging.received_bytes(upload)
        for file, bytes_kept in zip(upload.files, received, strict=True):
            if bytes_kept != file.size_bytes:
                raise ConflictError(
                    f"{bytes_kept} of {file.size_bytes} bytes of {file.path!r} have arrived: send the rest, then "
                    "commit again",
                    reason="UPLOAD_INCOMPLETE",
                    path=file.path,
                    expected=file.size_bytes,
                    got=bytes_kept,
                )

    async def _digest(self, upload: Upload, index: int) -> str:
        digest = await self._staging.digest(upload, index)
        if not upload.is_whole(index, digest):
            await self._staging.discard(upload, index)
            raise damaged(upload, index, digest)
        return digest

    async def _store(self, file: ArtifactFile, path: Path) -> None:
        """Put the file into the object store under its digest, and read it back once."""
        key = blob_key(file.sha256)
        try:
            if await self._is_verified(key, file):
                return
            await self._blobs.put_file(key, path, sha256=file.sha256)
            if not await self._reads_back(key, file.sha256):
                # What lies there is damaged, so nobody can be using it: replace it by the right bytes.
                await self._blobs.delete(key)
                await self._blobs.put_file(key, path, sha256=file.sha256)
                if not await self._reads_back(key, file.sha256):
                    raise DamagedError(
                        f"the object store does not give {file.path!r} back as it was stored; the upload is kept",
                        reason="BLOB_DAMAGED",
                        sha256=file.sha256,
                    )
        except UnavailableError as error:
            raise UnavailableError(
                "the object store is away or refuses to store; the upload is kept and can be committed again",
                reason="BLOB_STORE_AWAY",
                retry_after_s=RETRY_AFTER_S,
            ) from error
        self._verified[file.sha256] = None
        while len(self._verified) > VERIFIED_MAX:
            self._verified.popitem(last=False)

    async def _is_verified(self, key: str, file: ArtifactFile) -> bool:
        if file.sha256 not in self._verified:
            return False
        found = await self._blobs.stat(key)
        return found is not None and found.size_bytes == file.size_bytes

    async def _reads_back(self, key: str, sha256: str) -> bool:
        digest = hashlib.sha256()
        async with self._blobs.open(key) as chunks:
            async for chunk in chunks:
                digest.update(chunk)
        return digest.hexdigest() == sha256
