"""Memory of this process as Linux counts it: what is resident, and the most that ever was."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")
_RESET_PEAK = "5"
_KIB = 1024


def resident_bytes() -> int:
    """Return what is in memory now."""
    return _status("VmRSS:")


def peak_bytes() -> int:
    """Return the most that was in memory since `reset_peak`."""
    return _status("VmHWM:")


def reset_peak() -> int:
    """Forget the peak so far, where the system lets us, and return what is in memory now, which peaks start from."""
    with suppress(OSError):
        _CLEAR.write_text(_RESET_PEAK)
    return resident_bytes()


def _status(field: str) -> int:
    for line in _STATUS.read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) * _KIB
    return 0
