"""Sends on what came over OTLP to an OpenTelemetry Collector, as it came; one that is down costs data alone."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from servemesh.observe import metrics, names
from servemesh.observe.otlp_channel import OtlpChannel
from servemesh.observe.outbox import Letter, Outbox

TIMEOUT_S = 5.0
CLOSE_S = 3.0
TICK_S = 0.2

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ForwardSettings:
    """Where to, what is said with each call, and how much may wait."""

    endpoint: str
    headers: Mapping[str, str]
    bytes_max: int = 16 << 20


class OtlpForward:
    """Takes requests as they came; a thread of its own sends them on."""

    def __init__(self, settings: ForwardSettings) -> None:
        self._bytes_max = settings.bytes_max
        self._waiting: deque[Letter] = deque()
        self._waiting_bytes = 0
        self._dropped = metrics.counter(names.METRICS_FORWARD_DROPPED)
        self._lock = threading.Lock()

    @classmethod
    @contextmanager
    def running(cls, settings: ForwardSettings) -> Iterator[OtlpForward]:
        """Send on for the length of the block, and what waits at its end."""
        forward, ended = cls(settings), threading.Event()
        metadata = tuple((key.lower(), value) for key, value in settings.headers.items())
        with OtlpChannel.opened(settings.endpoint, metadata) as channel:
            thread = threading.Thread(
                target=forward._run, args=(channel, ended), name="servemesh-otlp-forward", daemon=True
            )
            thread.start()
            try:
                yield forward
            finally:
                ended.set()
                thread.join(CLOSE_S)

    def offer(self, method: str, message: bytes) -> None:
        """Send a request on, if there is room for it to wait."""
        with self._lock:
            if self._waiting_bytes + len(message) > self._bytes_max:
                self._dropped.inc()
                return
            self._waiting.append(Letter(method=method, message=message))
            self._waiting_bytes += len(message)

    def _taken(self) -> Letter | None:
        with self._lock:
            if not self._waiting:
                return None
            letter = self._waiting.popleft()
            self._waiting_bytes -= len(letter.message)
            return letter

    def _run(self, channel: OtlpChannel, ended: threading.Event) -> None:
        outbox = Outbox(lambda letter: self._dropped.inc(), random.random)
        post = partial(channel.post, timeout_s=TIMEOUT_S)
        last = failing = False
        while not last:
            last = ended.wait(TICK_S)
            while letter := self._taken():
                outbox.put(letter)
                outbox.send(post, time.monotonic)
            outbox.send(post, time.monotonic, last=last)
            if outbox.is_failing != failing:
                failing = outbox.is_failing
                _log.warning(names.OTLP_FAILED if failing else names.OTLP_BACK)
