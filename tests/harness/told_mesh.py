"""A mesh that says what a test told it to: the console's port without processes behind it."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

from servemesh.metrics.console.domain import Method
from servemesh.metrics.console.service import Document


class ToldMesh:
    """Answers `answers[method]`, or raises it if it is an error; counts what was asked."""

    def __init__(self, answers: dict[str, Any] | None = None) -> None:
        self.answers = answers or {}
        self.asked: Counter[str] = Counter()

    async def ask(self, method: Method, request: Document, *, timeout_s: float) -> Document:
        """Answer."""
        self.asked[method.name] += 1
        answer = self.answers.get(method.name, {"echo": dict(request)})
        if isinstance(answer, Exception):
            raise answer
        told: Document = answer
        return told

    async def stream(self, method: Method, request: Document, *, timeout_s: float) -> AsyncIterator[Any]:
        """Yield the chunks told."""
        self.asked[method.name] += 1
        answer = self.answers.get(method.name, ())
        if isinstance(answer, Exception):
            raise answer
        for chunk in answer:
            yield SimpleNamespace(chunk=chunk)
