"""Examines an artifact in a child process with limits on memory, processor time and wall time."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from servemesh import child
from servemesh.errors import InvalidError, OverloadedError
from servemesh.observe import names
from servemesh.registry.domain.admission import Admitted
from servemesh.registry.domain.models import Signature, TensorSpec

CHILD = "servemesh.registry.adapters.admission_child"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class AdmissionLimits:
    """What one examination may use, and how many run at a time."""

    memory_bytes_max: int = 8 * 1024**3
    cpu_s_max: int = 120
    timeout_s: float = 180.0
    answer_bytes_max: int = 4 * 1024**2
    processes_max: int = 2
    waiting_max: int = 64


class AdmissionProcess:
    """Satisfies service.uploads.Examiner."""

    def __init__(self, limits: AdmissionLimits) -> None:
        self._limits = limits
        self._places = asyncio.Semaphore(limits.processes_max)
        self._waiting = 0

    async def examine(self, files: Mapping[str, Path]) -> Admitted:
        """Return what the artifact is; InvalidError if it is refused, or if reading it broke the child."""
        if self._waiting >= self._limits.waiting_max:
            raise OverloadedError(
                f"{self._waiting} artifacts wait to be examined already; commit again later",
                reason="ADMISSION_BUSY",
                retry_after_s=5.0,
                limit=self._limits.waiting_max,
            )
        self._waiting += 1
        try:
            async with self._places:
                return _read(await self._answer(self._order(files)))
        finally:
            self._waiting -= 1

    def _order(self, files: Mapping[str, Path]) -> bytes:
        return json.dumps(
            {
                "parent": os.getpid(),
                "memory_bytes_max": self._limits.memory_bytes_max,
                "cpu_s_max": self._limits.cpu_s_max,
                "files": [{"path": path, "staged": str(staged)} for path, staged in files.items()],
            }
        ).encode()

    async def _answer(self, order: bytes) -> bytes:
        try:
            reply = await child.asked(
                (sys.executable, "-X", "faulthandler", "-I", "-m", CHILD),
                order,
                timeout_s=self._limits.timeout_s,
                answer_bytes_max=self._limits.answer_bytes_max,
                environment={"OPENBLAS_NUM_THREADS": "1"},
            )
        except TimeoutError as error:
            raise _crashed(f"took longer than {self._limits.timeout_s:g} s") from error
        if reply.status != 0 or not reply.answer:
            _log.warning(names.ADMISSION_CRASHED, extra={"status": reply.status, "detail": reply.last_words})
            raise _crashed("needed more memory or time than a model may, or crashed the reader")
        return reply.answer


def _crashed(why: str) -> InvalidError:
    return InvalidError(
        f"the artifact could not be examined: reading it {why}. Check the model with onnx.checker.check_model and "
        "export it again",
        reason="MODEL_CRASHED_READER",
    )


def _read(answer: bytes) -> Admitted:
    said: dict[str, Any] = json.loads(answer)
    if "refused" in said:
        refused = said["refused"]
        raise InvalidError(refused["message"], reason=refused["reason"], **refused["metadata"])
    admitted = said["admitted"]
    signature = admitted["signature"]
    return Admitted(
        entry_path=admitted["entry_path"],
        signature=Signature(
            **{**signature, "inputs": _specs(signature["inputs"]), "outputs": _specs(signature["outputs"])}
        ),
        warnings=tuple(admitted["warnings"]),
    )


def _specs(specs: list[dict[str, Any]]) -> tuple[TensorSpec, ...]:
    return tuple(TensorSpec(**{**spec, "shape": tuple(spec["shape"])}) for spec in specs)
