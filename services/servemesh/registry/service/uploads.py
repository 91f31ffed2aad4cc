"""Uploads: bytes come in pieces and are kept, then verified, examined, stored and published as a Version."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from pathlib import Path
from typing import Protocol

from servemesh.registry.domain.admission import Admitted
from servemesh.registry.domain.models import ModelVersion
from servemesh.registry.domain.uploads import Upload


class UploadCatalog(Protocol):
    """Where Uploads are written down. Every method is one transaction."""

    async def create_upload(self, upload: Upload, *, request_id: str, open_max: int) -> Upload:
        """Keep `upload`, creating its Model if need be.

        A request_id seen before gives the Upload of that time (ConflictError REQUEST_ID_REUSED if its files or
        labels differ). OverloadedError UPLOADS_OPEN_MAX if `open_max` Uploads without a Version are kept already.
        """

    async def get_upload(self, model_id: str, upload_id: str) -> Upload:
        """Return the Upload; MissingError if there is none."""

    async def touch_upload(self, model_id: str, upload_id: str, *, expire_time: datetime) -> None:
        """Move the expiry of the Upload; nothing happens if it is gone."""

    async def delete_upload(self, model_id: str, upload_id: str) -> None:
        """Forget the Upload; MissingError if there is none."""

    async def list_expired_uploads(self, *, now: datetime, page_size: int) -> Sequence[Upload]:
        """Return Uploads whose expire_time is not after `now`, oldest first, committed ones too."""

    async def commit_upload(self, upload: Upload, admitted: Admitted, *, now: datetime) -> ModelVersion:
        """Publish `upload` (its files carry their digests) as the next Version of its Model, with its event.

        Sets version_id and warnings of the kept Upload in the same transaction. If it has a version_id already,
        changes nothing and returns that Version.
        """

    async def get_version(self, model_id: str, version_id: int) -> ModelVersion:
        """Return the Version; MissingError if there is none."""
