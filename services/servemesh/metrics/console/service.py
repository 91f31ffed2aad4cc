"""Asks the mesh what pages want to know, and tells open pages again and again how it stands."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol

from servemesh.errors import OverloadedError, ServemeshError
from servemesh.lifecycle import Clock
from servemesh.metrics.console.domain import Method, method_of

Document = Mapping[str, Any]


class Mesh(Protocol):
    """The mesh's own APIs, with messages as JSON documents."""

    async def ask(self, method: Method, request: Document, *, timeout_s: float) -> Document:
        """Call a unary method; raises its typed error, InvalidError for a document that is not its request."""

    def stream(self, method: Method, request: Document, *, timeout_s: float) -> AsyncIterator[Any]:
        """Call a method that streams, and yield its messages."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How much pages may ask, and how often they are told."""

    questions_max: int
    question_s_max: float
    watchers_max: int
    pulse_s: float
    pulse_window_s: float


class Questions:
    """Answers pages' questions, so many at a time."""

    def __init__(self, mesh: Mesh, bounds: Bounds) -> None:
        self._mesh = mesh
        self._bounds = bounds
        self._asked = 0

    async def answer(self, word: str, name: str, request: Document) -> Document:
        """Return what the mesh says."""
        method = method_of(word, name)
        with self._counted():
            return await self._mesh.ask(method, request, timeout_s=self._bounds.question_s_max)

    async def report(self, name: str, format_: str) -> AsyncIterator[bytes]:
        """Yield a file of a report."""
        method = Method(service="servemesh.api.metrics.v1.MetricsService", name="DownloadReport")
        with self._counted():
            request = {"name": name, "format": f"REPORT_FORMAT_{format_.upper()}"}
            async for message in self._mesh.stream(method, request, timeout_s=self._bounds.question_s_max):
                yield message.chunk

    @contextmanager
    def _counted(self) -> Iterator[None]:
        if self._asked >= self._bounds.questions_max:
            raise OverloadedError(
                f"{self._asked} questions are asked at the moment, the limit; try again in a second",
                reason="TOO_MANY_QUESTIONS",
                retry_after_s=1.0,
            )
        self._asked += 1
        try:
            yield
        finally:
            self._asked -= 1


class Pulse:
    """How the mesh stands, found out once for all open pages, and only while there are any."""

    def __init__(self, mesh: Mesh, clock: Clock, bounds: Bounds) -> None:
        self._mesh = mesh
        self._clock = clock
        self._bounds = bounds
        self._watchers: set[asyncio.Queue[str]] = set()
        self._latest = ""
        self._wanted = asyncio.Event()

    async def run(self) -> None:
        """Tell all who watch, until cancelled."""
        while True:
            await self._wanted.wait()
            beat = json.dumps(await self._found(), separators=(",", ":"))
            self._latest = beat if self._watchers else ""
            for watcher in self._watchers:
                with suppress(asyncio.QueueFull):  # a page that is behind misses a beat
                    watcher.put_nowait(beat)
            await asyncio.sleep(self._bounds.pulse_s)

    async def beats(self) -> AsyncIterator[str]:
        """Yield a JSON document now and at each beat. OverloadedError if too many watch."""
        if len(self._watchers) >= self._bounds.watchers_max:
            raise OverloadedError(
                f"{len(self._watchers)} pages are open, the limit",
                reason="TOO_MANY_WATCHERS",
                retry_after_s=10.0,
            )
        watcher: asyncio.Queue[str] = asyncio.Queue(1)
        if self._latest:
            watcher.put_nowait(self._latest)
        self._watchers.add(watcher)
        self._wanted.set()
        try:
            while True:
                yield await watcher.get()
        finally:
            self._watchers.discard(watcher)
            if not self._watchers:
                self._wanted.clear()
                self._latest = ""  # whoever comes next is not told of the past

    async def _found(self) -> Document:
        now = self._clock.now()
        window = {"start_time": (now - timedelta(seconds=self._bounds.pulse_window_s)).isoformat()}
        questions: dict[str, tuple[str, str, Document]] = {
            "models": ("metrics", "GetOverview", {"window": window}),
            "workers": (
                "metrics",
                "GetOverview",
                {"window": window, "subject_kind": "SUBJECT_KIND_WORKER"},
            ),
            "fleet": ("fleet", "ListWorkers", {}),
            "alerts": ("metrics", "ListAlerts", {}),
            "edges": (
                "metrics",
                "QueryRange",
                {
                    "metric": "envoy.ejected",
                    "group_by": ["instance"],
                    "measure": "MEASURE_LAST",
                    "window": window,
                    "step": f"{round(self._bounds.pulse_window_s)}s",
                },
            ),
        }
        found: dict[str, Any] = {"time": now.isoformat(), "errors": {}}
        async with asyncio.TaskGroup() as group:
            for key, (word, name, request) in questions.items():
                group.create_task(self._note(found, key, method_of(word, name), request))
        return found

    async def _note(self, found: dict[str, Any], key: str, method: Method, request: Document) -> None:
        try:
            found[key] = await self._mesh.ask(method, request, timeout_s=self._bounds.question_s_max)
        except ServemeshError as error:
            found[key] = None
            found["errors"][key] = error.message
