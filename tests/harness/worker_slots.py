"""Slots that hold ONNX models from files, READY as long as the block lasts: the data path without residency."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import onnx

from servemesh import oip
from servemesh.runtime.sessions import RuntimeOptions
from servemesh.worker.adapters.onnx_session import OnnxSession
from servemesh.worker.domain.batching import BatchPolicy
from servemesh.worker.domain.signature import ANY_SIZE, Signature
from servemesh.worker.service.batch_metrics import BatchMetrics
from servemesh.worker.service.batcher import Batcher
from servemesh.worker.service.guard import Guard
from servemesh.worker.service.slots import ReadySlot
from servemesh.worker.service.statistics import Statistics
from tests.harness import models


@dataclass(slots=True, kw_only=True)
class DirectSlot:
    """A slot of DirectSlots."""

    model: str
    version_id: int
    signature: Signature
    policy: BatchPolicy
    statistics: Statistics
    ready: ReadySlot | None = None
    state: str = "READY"
    is_default: bool = True
    aliases: tuple[str, ...] = ("prod",)
    reason: str = ""
    message: str = ""
    memory_bytes: int = 0


class DirectSlots:
    """The slots of models that were opened from files."""

    def __init__(self, slots: Mapping[str, DirectSlot]) -> None:
        self._slots = slots

    def find(self, model: str, version: str, pinned: str = "") -> ReadySlot:
        """Return the slot of that model."""
        slot = self._slots.get(model)
        if slot is None or version not in ("", str(slot.version_id), *slot.aliases):
            raise oip.unknown_model(model, version)
        if slot.ready is None or slot.state != "READY":
            raise oip.not_ready(model, version, slot.state)
        return slot.ready

    async def ready(self, model: str, version: str, pinned: str = "") -> ReadySlot:
        """Make the slot READY again."""
        if model not in self._slots:
            raise oip.unknown_model(model, version)
        self._slots[model].state = "READY"
        return self.find(model, version, pinned)

    async def unload(self, model: str) -> None:
        """Make the slot UNLOADED."""
        if model not in self._slots:
            raise oip.unknown_model(model)
        self._slots[model].state = "UNLOADED"

    def slots(self) -> Iterable[DirectSlot]:
        """Return every slot."""
        return self._slots.values()


@asynccontextmanager
async def direct_slots(
    folder: Path, built: Mapping[str, onnx.ModelProto], policy: BatchPolicy | None = None
) -> AsyncIterator[DirectSlots]:
    """Open `built` models by name, each as version 3, and hold them READY."""
    policy = policy or BatchPolicy()
    async with AsyncExitStack() as stack:
        guard = stack.enter_context(Guard.running())
        slots = {}
        for name, model in built.items():
            session = await OnnxSession.open(models.saved(model, folder / name), RuntimeOptions())
            signature = signature_of(session)
            slot = DirectSlot(
                model=name, version_id=3, signature=signature, policy=policy, statistics=Statistics()
            )
            batcher = Batcher(
                session, signature, policy, slot.statistics, guard, BatchMetrics(name, slot.version_id)
            )
            await stack.enter_async_context(batcher)
            slot.ready = ReadySlot(
                model=name,
                version_id=3,
                signature=signature,
                policy=policy,
                batcher=batcher,
                statistics=slot.statistics,
            )
            slots[name] = slot
        yield DirectSlots(slots)


def signature_of(session: OnnxSession) -> Signature:
    """Return the signature that the registry would read from the model."""
    specs = (*session.inputs, *session.outputs)
    batchable = all(spec.shape and spec.shape[0] == ANY_SIZE for spec in specs)
    return Signature(inputs=session.inputs, outputs=session.outputs, batchable=batchable)
