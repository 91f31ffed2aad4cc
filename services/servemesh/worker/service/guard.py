"""Stops a run that holds the event loop up: tiny runs are made there, and one may turn out not to be tiny."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from servemesh.worker.service.execution import Stop

HELD_UP_S = 0.02


class Guard:
    """Watches the event loop's runs from a thread of its own, which sleeps while there are none."""

    def __init__(self) -> None:
        self._watched: Stop | None = None
        self._is_awake = False
        self._awake = threading.Event()
        self._closed = threading.Event()

    @classmethod
    @contextmanager
    def running(cls, held_up_s: float = HELD_UP_S) -> Iterator[Guard]:
        """Offer a guard that stops runs of `held_up_s` to twice that."""
        guard = cls()
        thread = threading.Thread(target=guard._watch, args=(held_up_s,), name="guard", daemon=True)
        thread.start()
        try:
            yield guard
        finally:
            guard._closed.set()
            guard._awake.set()
            thread.join()

    def begin(self, stop: Stop) -> None:
        """A run begins on the event loop."""
        self._watched = stop
        if not self._is_awake:
            self._is_awake = True
            self._awake.set()

    def end(self) -> None:
        """The run is over."""
        self._watched = None

    def _watch(self, held_up_s: float) -> None:
        before: Stop | None = None
        while not self._closed.is_set():
            watched = self._watched
            if watched is not None and watched is before:
                watched.stop()
            if watched is None and before is None:
                self._awake.clear()
                self._is_awake = False
                # A run may have begun since it was last looked for.
                if self._watched is None:
                    self._awake.wait()
            before = watched
            self._closed.wait(held_up_s)
