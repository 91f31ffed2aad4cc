"""Empty folders for work that is not finished, below the one that this process holds."""

from __future__ import annotations

import asyncio
import shutil
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from servemesh.errors import OverloadedError


class ScratchFolders:
    """Satisfies ports.Folders."""

    def __init__(self, root: Path) -> None:
        self._root = root

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Path]:
        """Give an empty folder, and remove it afterwards with all that is in it."""
        folder = self._root / uuid.uuid4().hex
        try:
            folder.mkdir(mode=0o700)
        except OSError as error:
            raise OverloadedError(
                "the optimizer's disk takes no new folder; free some of it",
                reason="DISK_FULL",
                retry_after_s=60.0,
            ) from error
        try:
            yield folder
        finally:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
