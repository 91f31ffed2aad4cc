"""The key under which the output of a step is kept: a digest of everything that the output depends on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any


def pass_key(
    *,
    input_sha256: str,
    pass_id: str,
    parameters: Mapping[str, Any],
    seed: int,
    data_sha256: str = "",
    teacher_sha256: str = "",
    libraries: Mapping[str, str],
) -> str:
    """Return the key, lower hex. Parameters are all of them, defaults included; digests are empty for "none"."""
    content = {
        "input": input_sha256,
        "pass": pass_id,
        "parameters": dict(parameters),
        "seed": seed,
        "data": data_sha256,
        "teacher": teacher_sha256,
        "libraries": dict(libraries),
    }
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
