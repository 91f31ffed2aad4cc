"""Uploads and downloads as blocking steps, each of which runs in a thread of the store."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, TypeVar

import urllib3
from minio import Minio
from minio.error import MinioException, S3Error

from servemesh.blobs.files import ArrivingFile
from servemesh.errors import MissingError, UnavailableError

T = TypeVar("T")
_MISSING = ("NoSuchKey", "NoSuchObject", "NoSuchBucket")
_REFUSED = ("AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch")


class Upload:
    """One file to one key, in parts. The store shows it when all of it has arrived."""

    def __init__(self, client: Minio, bucket: str, key: str, path: Path, part_bytes: int) -> None:
        self._client = client
        self._bucket = bucket
        self._key = key
        self._path = path
        self._part_bytes = part_bytes
        self.cancelled = threading.Event()

    def send(self) -> None:
        """Send the file."""
        with self._path.open("rb") as file:
            size_bytes = self._path.stat().st_size
            self._client.put_object(
                self._bucket,
                self._key,
                _Stoppable(file, self.cancelled),  # type: ignore[arg-type]  # only `read` is called
                size_bytes,
                part_size=self._part_bytes,
                num_parallel_uploads=1,  # threads are ours, not the SDK's
            )


class _Stoppable:
    """A file that raises when its reader is no longer wanted."""

    def __init__(self, file: BinaryIO, stopped: threading.Event) -> None:
        self._file = file
        self._stopped = stopped

    def read(self, size_bytes: int = -1) -> bytes:
        if self._stopped.is_set():
            raise UnavailableError("the upload was cancelled")
        return self._file.read(size_bytes)


class Download:
    """One blob in chunks. A connection that breaks is made again at the byte where it broke."""

    def __init__(
        self, client: Minio, bucket: str, key: str, *, offset: int, chunk_bytes: int, retries_max: int
    ) -> None:
        self._client = client
        self._bucket = bucket
        self._key = key
        self._offset = offset
        self._chunk_bytes = chunk_bytes
        self._retries_max = retries_max
        self._response: urllib3.BaseHTTPResponse | None = None
        self._ended = False
        self._lock = threading.Lock()  # a cancelled reader's last step may still run when `close` comes

    def open(self) -> None:
        """Ask for the bytes."""
        with self._lock:
            self._open()

    def read(self) -> bytes:
        """Return the next chunk, empty at the end."""
        with self._lock:
            for attempt in range(self._retries_max + 1):
                try:
                    return self._read()
                except (urllib3.exceptions.HTTPError, OSError):
                    self._close()
                    if attempt == self._retries_max:
                        raise
            raise AssertionError("unreachable")

    def close(self) -> None:
        """Give the connection up."""
        with self._lock:
            self._ended = True
            self._close()

    def _read(self) -> bytes:
        if self._response is None and not self._ended:
            self._open()
        if self._response is None:
            return b""
        chunk = self._response.read(self._chunk_bytes)
        self._offset += len(chunk)
        return bytes(chunk)

    def _open(self) -> None:
        try:
            self._response = self._client.get_object(self._bucket, self._key, offset=self._offset)
        except S3Error as error:
            if error.code != "InvalidRange":
                raise
            self._ended = True  # the offset is the end of the blob, or behind it

    def _close(self) -> None:
        if self._response is not None:
            self._response.close()
            self._response.release_conn()
            self._response = None


class FileDownload:
    """One blob to one new file."""

    def __init__(self, download: Download, path: Path, *, sha256: str, size_bytes: int) -> None:
        self._download = download
        self._file = ArrivingFile(path, sha256=sha256, size_bytes=size_bytes)
        self._lock = threading.Lock()
        self._closed = False

    def begin(self) -> None:
        """Find the blob, then create the file."""
        with self._lock:
            if not self._closed:
                self._download.open()
                self._file.create()

    def step(self) -> bool:
        """Copy one chunk; False when the file is whole and checked."""
        with self._lock:
            if self._closed:
                return False
            chunk = self._download.read()
            if not chunk:
                self._file.finish()
                return False
            self._file.write(chunk)
            return True

    def close(self) -> None:
        """End the transfer; the file stays only if it is whole and checked."""
        with self._lock:
            self._closed = True
            self._file.close()
        self._download.close()


def translated(work: Callable[[], T]) -> Callable[[], T]:
    """Return `work` with the errors of the driver turned into ours."""

    def run() -> T:
        try:
            return work()
        except S3Error as error:
            raise _from_s3(error) from error
        except (MinioException, urllib3.exceptions.HTTPError, ConnectionError, TimeoutError) as error:
            raise _away("the blob store (S3) is away; try again") from error

    return run


def _from_s3(error: S3Error) -> MissingError | UnavailableError:
    if error.code in _MISSING:
        key = error.object_name or error.bucket_name or ""
        return MissingError(f"there is no blob {key} in the store", reason="BLOB_MISSING", key=key)
    if error.code in _REFUSED:
        return UnavailableError(
            "the blob store (S3) refuses our access key; check the key, the secret and the bucket's policy",
            reason="BLOB_STORE_REFUSES",
        )
    return _away("the blob store (S3) failed; try again")


def _away(message: str) -> UnavailableError:
    return UnavailableError(message, reason="BLOB_STORE_AWAY")
