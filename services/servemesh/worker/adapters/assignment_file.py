"""The last assignment, on disk with a digest: what a restarted worker serves while the registry is away."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from pathlib import Path

from google.protobuf.message import DecodeError

from servemesh.api.fleet.v1 import fleet_pb2 as pb
from servemesh.observe import names
from servemesh.worker.adapters.atomic_file import read_file, replace_file

SIZE_BYTES_MAX = 64 * 1024 * 1024

_log = logging.getLogger(__name__)


class AssignmentFile:
    """Satisfies leasing.AssignmentStore: a sha256 in binary, then the message."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def read(self) -> pb.Assignment | None:
        """Return the last one kept; None if there is none that can be trusted."""
        data = await asyncio.to_thread(read_file, self._path, size_bytes_max=SIZE_BYTES_MAX)
        if data is None or hashlib.sha256(data[32:]).digest() != data[:32]:
            return None
        try:
            message: pb.Assignment = pb.Assignment.FromString(data[32:])
        except DecodeError:
            return None
        return message

    async def keep(self, assignment: pb.Assignment) -> None:
        """Keep it instead of the one before; on a full disk the one before stays."""
        data = assignment.SerializeToString()
        try:
            await asyncio.to_thread(replace_file, self._path, hashlib.sha256(data).digest() + data)
        except OSError as error:
            _log.warning(names.CACHE_WRITE_FAILED, extra={"file": self._path.name, "errno": error.errno})
