"""Does the task that request.json asks for, and leaves result.json or error.json behind."""

from __future__ import annotations

import errno
import json
import os
import sys
import traceback
from pathlib import Path
from typing import Any

from servemesh.errors import OverloadedError, ServemeshError
from servemesh.optimizer.adapters.child import limits, messages
from servemesh.optimizer.adapters.child.reporting import LineReport
from servemesh.optimizer.adapters.child.tasks import imported

STDOUT, STDERR = 1, 2


def main(folder: Path, more_tasks: dict[str, str]) -> None:
    """Work in `folder`. What libraries print on stdout lands on stderr; stdout belongs to the reports."""
    report = LineReport(os.dup(STDOUT))
    os.dup2(STDERR, STDOUT)
    request = json.loads((folder / messages.REQUEST).read_text())
    limits.limit(request["limits"])
    try:
        result = imported(request["task"], more_tasks)(request["arguments"], folder, report)
        messages.write(folder / messages.RESULT, result)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever it is, the parent is told
        traceback.print_exc()
        messages.write(folder / messages.ERROR, _told(error))


def _told(error: BaseException) -> dict[str, Any]:
    """Return what the parent is told; the text of an error that is not ours stays on this machine."""
    if isinstance(error, ServemeshError):
        return messages.from_error(error)
    if isinstance(error, MemoryError):
        return messages.from_error(
            OverloadedError(
                "there was not enough memory", reason="MEMORY_EXCEEDED", field="limits.memory_bytes"
            )
        )
    if isinstance(error, OSError) and error.errno in (errno.EFBIG, errno.ENOSPC, errno.EDQUOT):
        return messages.from_error(
            OverloadedError("there was not enough room on the disk for what it writes", reason="DISK_FULL")
        )
    return messages.from_error(ServemeshError("it failed in a way that nobody foresaw"))


if __name__ == "__main__":
    limits.die_with_parent()
    main(Path(sys.argv[1]), dict(pair.split("=", 1) for pair in sys.argv[2:]))
    sys.stdout.flush()
    sys.stderr.flush()
    # What was asked for is on disk: threads that libraries left running, or crashes as they are torn down, are
    # nobody's concern.
    os._exit(0)
