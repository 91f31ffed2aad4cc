"""Every line of every log as one JSON object, also of programs that do not log so."""

from __future__ import annotations

import json
from datetime import datetime

from servemesh.observe import names

_LEVELS = {
    b"[ERR]": "ERROR",
    b"[FTL]": "ERROR",
    b"[WRN]": "WARNING",
    b"[error]": "ERROR",
    b"[critical]": "ERROR",
    b"[warning]": "WARNING",
}


def log_line(process: str, line: bytes, now: datetime) -> bytes:
    """Return `line` as it is if it is an object, else as the text of one; nothing for an empty line."""
    text = line.strip()
    if not text or text.startswith(b"{"):
        return text
    level = next((level for mark, level in _LEVELS.items() if mark in text), "INFO")
    return json.dumps(
        {
            "time": now.isoformat(timespec="milliseconds"),
            "level": level,
            "event": names.PROCESS_OUTPUT,
            "service": process,
            "instance": process,
            "text": text.decode("utf-8", "replace"),
        },
        ensure_ascii=False,
    ).encode()
