"""What can be seen of the processes on this machine: short HTTP calls, and files."""

from __future__ import annotations

import asyncio
import http.client
from pathlib import Path
from urllib.parse import urlsplit


class HttpProbe:
    """Asks a process of this machine for a page, never through a proxy."""

    def __init__(self, *, timeout_s: float) -> None:
        self._timeout_s = timeout_s

    def has_file(self, path: str) -> bool:
        """Whether there is such a file."""
        return Path(path).exists()

    async def is_ready(self, url: str) -> bool:
        """Whether GET `url` answers 200 in time."""
        return await asyncio.to_thread(self._status, "GET", url) == 200

    async def has_well_members(self, url: str) -> bool:
        """Whether a page of Envoy's counters tells of upstream hosts, all of them well."""
        page = await asyncio.to_thread(fetched, url, timeout_s=self._timeout_s)
        total, healthy = (_sum(page or "", counter) for counter in ("membership_total", "membership_healthy"))
        return total > 0 and healthy == total

    async def post(self, url: str) -> None:
        """POST to `url`; a process that does not answer is left alone."""
        await asyncio.to_thread(self._status, "POST", url)

    def _status(self, method: str, url: str) -> int | None:
        try:
            return _requested(method, url, self._timeout_s)[0]
        except (OSError, http.client.HTTPException):
            return None


def _sum(page: str, counter: str) -> int:
    counters = (line.rpartition(": ") for line in page.splitlines())
    return sum(int(value) for name, _, value in counters if name.endswith(f".{counter}"))


def fetched(url: str, *, timeout_s: float) -> str | None:
    """Return the page at `url`, None if there is no good answer within `timeout_s`."""
    try:
        status, body = _requested("GET", url, timeout_s)
    except (OSError, http.client.HTTPException):
        return None
    return body.decode("utf-8", "replace") if status == 200 else None


def _requested(method: str, url: str, timeout_s: float) -> tuple[int, bytes]:
    parts = urlsplit(url)
    assert parts.hostname is not None
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=timeout_s)
    try:
        connection.request(method, f"{parts.path}?{parts.query}" if parts.query else parts.path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()
