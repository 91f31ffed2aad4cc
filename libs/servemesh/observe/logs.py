"""Logs as JSON on stderr, one object a line: time, level, event, service, instance, trace and the fields of `extra`.

A constant message is the event's name, everything variable a field; what libraries say is the text of the event
`library`. stdout stays empty: supervisors read
the `ready` event, like all others, from stderr. A thread of its own writes, so that a reader who stalls
costs log lines, never the event loop.
"""

from __future__ import annotations

import json
import logging
import queue
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, TextIO

from servemesh.observe import metrics, names, traces

LINES_MAX = 10_000
CLOSE_S = 2.0
TEXT_CHARS_MAX = 2_000
_OURS = frozenset({"servemesh", "__main__", ""})
_STANDARD_FIELDS = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_NOISY = {
    "alembic": logging.WARNING,
    "asyncio": logging.WARNING,
    "grpc": logging.WARNING,
    "opentelemetry": logging.CRITICAL,  # we say once that the collector is away
    "urllib3": logging.ERROR,  # its warnings quote URLs, which name bucket and keys
    "pygrpc_native": logging.CRITICAL,
}


@contextmanager
def logging_to(
    service: str, instance: str, level: str = "INFO", stream: TextIO | None = None
) -> Iterator[None]:
    """Send the logs of this process to `stream` (stderr) for the length of the block.

    Where several services share a process, the first one's block decides; the others change nothing.
    """
    root = logging.getLogger()
    if any(isinstance(handler, _LineHandler) for handler in root.handlers):
        yield
        return
    handler = _LineHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter(service, instance))
    before = root.level
    root.addHandler(handler)
    root.setLevel(level.upper())
    for name, noisy_level in _NOISY.items():
        logging.getLogger(name).setLevel(noisy_level)
    try:
        yield
    finally:
        root.removeHandler(handler)
        root.setLevel(before)
        handler.close()


class JsonFormatter(logging.Formatter):
    """Turns a record into one line of JSON."""

    def __init__(self, service: str, instance: str) -> None:
        super().__init__()
        self._service = service
        self._instance = instance

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, without its end."""
        is_ours = (record.name or "").partition(".")[0] in _OURS and not record.args
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "event": record.msg if is_ours else names.LIBRARY,
            "service": self._service,
            "instance": self._instance,
            "logger": record.name,
        }
        if not is_ours:
            line["text"] = record.getMessage()[:TEXT_CHARS_MAX]
        context = traces.current()
        if context is not None:
            line["trace_id"] = f"{context.trace_id:032x}"
            line["span_id"] = f"{context.span_id:016x}"
        line |= {key: value for key, value in vars(record).items() if key not in _STANDARD_FIELDS}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str, ensure_ascii=False)


class _LineHandler(logging.Handler):
    """Hands lines to the thread that writes them; counts those that find no room."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._stream = stream
        self._lines: queue.Queue[str | None] = queue.Queue(LINES_MAX)
        self._dropped = metrics.counter(names.PROCESS_LOGS_DROPPED)
        self._writer = threading.Thread(target=self._write, name="servemesh-logs", daemon=True)
        self._writer.start()

    def emit(self, record: logging.LogRecord) -> None:
        """Format `record` here, where its trace is known, and queue it."""
        try:
            self._lines.put_nowait(self.format(record))
        except queue.Full:
            self._dropped.inc()

    def close(self) -> None:
        """Write what is queued, at most CLOSE_S long."""
        try:
            self._lines.put(None, timeout=CLOSE_S)
        except queue.Full:
            return
        self._writer.join(CLOSE_S)
        super().close()

    def _write(self) -> None:
        while (line := self._lines.get()) is not None:
            try:
                self._stream.write(line + "\n")
                if self._lines.empty():
                    self._stream.flush()
            except (OSError, ValueError):  # whoever read us is gone
                self._dropped.inc()
