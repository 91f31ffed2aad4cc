"""Keeps what passes made in a folder, so that a run that is broken off goes on, and a second one only measures."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from servemesh.errors import MissingError
from servemesh.optimizer.service.model_files import WEIGHTS, beside, digest_of


class KeptOnDisk:
    """Satisfies ports.PassCache of the optimizer."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def get(self, key: str, target: Path) -> dict[str, Any] | None:
        """Copy what is kept under `key` to `target` and return its answer."""
        kept = self._folder / key
        if not (kept / "answer.json").exists():
            return None
        _copy(kept / "model.onnx", target)
        answer: dict[str, Any] = json.loads((kept / "answer.json").read_text())
        return answer

    async def put(self, key: str, source: Path, answer: Mapping[str, Any]) -> str:
        """Keep a model; the answer is written last and says that it is whole."""
        kept, sha256 = self._folder / key, digest_of(source)
        shutil.rmtree(kept, ignore_errors=True)
        kept.mkdir(parents=True)
        _copy(source, kept / "model.onnx")
        (self._folder / sha256).write_text(key)
        (kept / "answer.json").write_text(json.dumps(dict(answer)))
        return sha256

    async def fetch(self, sha256: str, target: Path) -> None:
        """Copy the model with that digest; MissingError if it is not kept."""
        named = self._folder / sha256
        if not named.is_file():
            raise MissingError(f"{sha256} is not kept", reason="PASS_LOST")
        _copy(self._folder / named.read_text() / "model.onnx", target)


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    if beside(source, WEIGHTS).exists():
        shutil.copyfile(beside(source, WEIGHTS), beside(target, WEIGHTS))
