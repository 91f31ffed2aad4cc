"""Uploads as rows, and the moment in which one becomes a Version."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from servemesh import names
from servemesh.changes import Changes
from servemesh.errors import ConflictError, UnavailableError
from servemesh.registry.domain.admission import Admitted
from servemesh.registry.domain.collecting import is_claimable
from servemesh.registry.domain.events import Kind
from servemesh.registry.domain.limits import Limits, check_room
from servemesh.registry.domain.models import ModelVersion, manifest_sha256
from servemesh.registry.domain.uploads import Upload
from servemesh.registry.service import lookup
from servemesh.registry.service.catalog import added_model
from servemesh.registry.service.collecting import BLOBS_LOCK
from servemesh.registry.service.ports import Clock, Store
from servemesh.registry.service.recording import answered, record, request_lock
from servemesh.requests import RequestKey

LEAVING_RETRY_S = 1.0


class Publishing:
    """Satisfies uploads.UploadCatalog."""

    def __init__(self, store: Store, clock: Clock, changes: Changes, limits: Limits) -> None:
        self._store = store
        self._clock = clock
        self._changes = changes
        self._limits = limits

    async def create_upload(self, upload: Upload, *, request_id: str, open_max: int) -> Upload:
        """Keep `upload`, creating its Model if need be; a request_id seen before gives the Upload of that time."""
        self._limits.check_labels(upload.labels, "upload.labels")
        request = RequestKey(request_id=request_id, sha256=_digest(upload)) if request_id else None
        name = names.model(upload.model_id)
        async with self._store.writing(name, "models", "uploads", *request_lock(request)) as tx:

            async def work() -> Upload:
                check_room(await tx.uploads.count_open(), open_max, "open uploads", "UPLOADS_OPEN_MAX")
                for source in upload.source_versions:
                    await lookup.version(tx, *names.version_ids(source))
                if await tx.models.find(upload.model_id) is None:
                    await added_model(tx, upload.model_id, "", {}, self._clock, self._limits)
                await tx.uploads.put(upload)
                return upload

            kept = await answered(tx, request, Upload, self._clock.now(), work)
        self._changes.notify()
        return kept

    async def get_upload(self, model_id: str, upload_id: str) -> Upload:
        """The Upload; MissingError if there is none."""
        async with self._store.reading() as tx:
            upload = await tx.uploads.find(model_id, upload_id)
        if upload is None:
            raise lookup.missing("UPLOAD_MISSING", names.upload(model_id, upload_id))
        return upload

    async def touch_upload(self, model_id: str, upload_id: str, *, expire_time: datetime) -> None:
        """Move the expiry of the Upload; nothing happens if it is gone."""
        async with self._store.writing(names.model(model_id)) as tx:
            upload = await tx.uploads.find(model_id, upload_id)
            if upload is not None:
                await tx.uploads.put(replace(upload, expire_time=expire_time))

    async def delete_upload(self, model_id: str, upload_id: str) -> None:
        """Forget the Upload; MissingError if there is none."""
        async with self._store.writing(names.model(model_id)) as tx:
            if not await tx.uploads.delete(model_id, upload_id):
                raise lookup.missing("UPLOAD_MISSING", names.upload(model_id, upload_id))

    async def list_expired_uploads(self, *, now: datetime, page_size: int) -> Sequence[Upload]:
        """Uploads whose expire_time is not after `now`, oldest first, committed ones too."""
        async with self._store.reading() as tx:
            return await tx.uploads.list_expired(now=now, limit=page_size)

    async def claim_blobs(self, upload: Upload) -> None:
        """Put the blobs of its files in use; UnavailableError BLOB_LEAVING while one of them is being deleted."""
        sha256s = sorted({file.sha256 for file in upload.files})
        async with self._store.writing(names.model(upload.model_id), BLOBS_LOCK) as tx:
            kept = await tx.uploads.find(upload.model_id, upload.upload_id)
            if kept is None:
                raise lookup.missing("UPLOAD_MISSING", upload.name)
            if not is_claimable(await tx.blobs.find_orphans(sha256s)):
                raise UnavailableError(
                    "bytes that nobody used any more are just being deleted from the object store; the upload is "
                    "kept: commit it again in a moment",
                    reason="BLOB_LEAVING",
                    retry_after_s=LEAVING_RETRY_S,
                )
            await tx.blobs.forget_orphans(sha256s)
            await tx.uploads.put(replace(kept, files=upload.files))

    async def commit_upload(
        self, upload: Upload, admitted: Admitted, *, now: datetime, request_id: str = ""
    ) -> ModelVersion:
        """Publish `upload` as the next Version of its Model, with its event; once only."""
        model_name = names.model(upload.model_id)
        locks = (model_name, f"requests/{request_id}") if request_id else (model_name,)
        async with self._store.writing(*locks) as tx:
            kept = await tx.uploads.find(upload.model_id, upload.upload_id)
            if kept is None:
                raise lookup.missing("UPLOAD_MISSING", upload.name)
            if kept.version_id is not None:
                return await lookup.version(tx, upload.model_id, kept.version_id)
            made = await tx.models.find_version_of_request(request_id) if request_id else None
            if made is not None:
                _check_same(made, upload)
                await tx.uploads.put(
                    replace(upload, version_id=made.version_id, warnings=tuple(admitted.warnings))
                )
                return made
            model = await lookup.model(tx, upload.model_id)
            count = await tx.models.count_versions(upload.model_id)
            check_room(count, self._limits.versions_max, "versions of the model")
            version = ModelVersion(
                model_id=upload.model_id,
                version_id=await tx.outbox.next_value(f"{model_name}/versions"),
                files=upload.files,
                entry_path=admitted.entry_path,
                signature=admitted.signature,
                labels=upload.labels,
                source_versions=upload.source_versions,
                request_id=request_id,
                create_time=now,
            )
            await tx.models.add_version(version)
            await tx.models.put(replace(model, latest_version_id=version.version_id))
            await tx.uploads.put(
                replace(upload, version_id=version.version_id, warnings=tuple(admitted.warnings))
            )
            await record(tx, Kind.VERSION_CREATED, version.name, upload.model_id, now)
        self._changes.notify()
        return version

    async def get_version(self, model_id: str, version_id: int) -> ModelVersion:
        """The Version; MissingError if there is none."""
        async with self._store.reading() as tx:
            return await lookup.version(tx, model_id, version_id)


def _check_same(made: ModelVersion, upload: Upload) -> None:
    """ConflictError REQUEST_ID_REUSED unless `upload` holds what the Version was made of."""
    if made.model_id != upload.model_id or made.sha256 != manifest_sha256(upload.files):
        raise ConflictError(
            f"request_id {made.request_id} made {made.name}, which holds other files; take a new one",
            reason="REQUEST_ID_REUSED",
            request_id=made.request_id,
            name=made.name,
        )


def _digest(upload: Upload) -> str:
    files = [[file.path, file.size_bytes, file.sha256] for file in upload.files]
    content = ["CreateUpload", upload.model_id, files, sorted(upload.labels.items())]
    if upload.source_versions:  # else the digest is the one that registries before lineage kept
        content.append(list(upload.source_versions))
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()
