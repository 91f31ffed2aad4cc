"""Keeps the facts of the mesh as annotations, each once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from servemesh.errors import ServemeshError
from servemesh.metrics.domain.queries import Annotation
from servemesh.metrics.service.ports import Notes
from servemesh.observe import names

RETRY_S = 2.0

_log = logging.getLogger(__name__)


class Fact(Protocol):
    """A fact that came; it comes again until it is settled."""

    @property
    def annotation(self) -> Annotation | None:
        """What is kept of it; None if nothing is."""

    async def settled(self) -> None:
        """Do not bring it again."""

    async def unsettled(self, *, delay_s: float) -> None:
        """Bring it again."""


class Facts(Protocol):
    """Where facts come from."""

    def heard(self) -> AbstractAsyncContextManager[AsyncIterator[Fact]]:
        """Iterate facts for ever, from where the last reader ended."""


class Noting:
    """Reads facts and keeps them. A fact that came before does nothing."""

    def __init__(self, facts: Facts, notes: Notes) -> None:
        self._facts = facts
        self._notes = notes

    async def run(self) -> None:
        """Run until cancelled, whatever is away meanwhile."""
        while True:
            try:
                async with self._facts.heard() as facts:
                    async for fact in facts:
                        await self._note(fact)
            except ServemeshError as error:
                _log.warning(names.FACTS_WAITING, extra={"reason": error.reason})
                await asyncio.sleep(RETRY_S)

    async def _note(self, fact: Fact) -> None:
        if fact.annotation is not None:
            try:
                await self._notes.annotate(fact.annotation)
            except ServemeshError as error:
                _log.warning(names.FACTS_WAITING, extra={"reason": error.reason})
                await fact.unsettled(delay_s=RETRY_S)
                return
        await fact.settled()
