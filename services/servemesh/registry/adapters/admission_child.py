"""The child process that looks into an artifact: `python -m servemesh.registry.adapters.admission_child`.

Reads one JSON object from standard input, ties its life to the process that asks, limits itself, and writes one to
standard output. A file that makes a reader crash, hang or swallow memory takes this process down and nothing else.
"""

from __future__ import annotations

import dataclasses
import json
import resource
import sys
from pathlib import Path
from typing import Any

from servemesh.errors import InvalidError
from servemesh.parent_death import die_with_parent


def main() -> int:
    """Answer `{"admitted": ...}` or `{"refused": ...}`."""
    order = json.load(sys.stdin)
    die_with_parent(order["parent"])
    _limit(order["memory_bytes_max"], order["cpu_s_max"])
    print(json.dumps(_answer(order["files"])))  # noqa: T201
    return 0


def _limit(memory_bytes_max: int, cpu_s_max: int) -> None:
    for what, most in (
        (resource.RLIMIT_AS, memory_bytes_max),
        (resource.RLIMIT_CPU, cpu_s_max),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(what, (most, most))


def _answer(files: list[dict[str, str]]) -> dict[str, Any]:
    # Imported under the limits: the readers are what the limits are for.
    from servemesh.registry.adapters import onnx_reader
    from servemesh.registry.domain import admission

    staged = {file["path"]: Path(file["staged"]) for file in files}
    try:
        described = [onnx_reader.file_description(path, file) for path, file in staged.items()]
        admitted = admission.admit(described, lambda path: onnx_reader.model_description(path, staged[path]))
    except InvalidError as error:
        return {"refused": {"reason": error.reason, "message": error.message, "metadata": error.metadata}}
    return {"admitted": dataclasses.asdict(admitted)}


if __name__ == "__main__":
    sys.exit(main())
