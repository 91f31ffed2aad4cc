"""Builders of a worker's values."""

from __future__ import annotations

import hashlib
from typing import Any

from servemesh import names
from servemesh.worker.domain.signature import Signature, TensorSpec
from servemesh.worker.domain.slots import Slot, SlotState
from servemesh.worker.domain.versions import ArtifactFile, AssignedVersion, Version

X = TensorSpec(name="x", datatype="FP32", shape=(-1, 4))
Y = TensorSpec(name="y", datatype="FP32", shape=(-1, 4))


def a_version(model: str = "digits", version_id: int = 1, **changes: Any) -> Version:
    """Return a Version of one file of 100 bytes, with changes."""
    digest = hashlib.sha256(f"{model}/{version_id}".encode()).hexdigest()
    values: dict[str, Any] = {
        "name": names.version(model, version_id),
        "model": model,
        "version_id": version_id,
        "sha256": digest,
        "files": (ArtifactFile(path="model.onnx", size_bytes=100, sha256=digest),),
        "entry_path": "model.onnx",
        "signature": Signature(inputs=(X,), outputs=(Y,), batchable=True),
    }
    return Version(**values | changes)


def an_assigned(model: str = "digits", version_id: int = 1, **changes: Any) -> AssignedVersion:
    """Return an assigned default Version, with changes."""
    return AssignedVersion(**{"version": a_version(model, version_id), "is_default": True} | changes)


def a_slot(
    model: str = "digits", version_id: int = 1, state: SlotState = SlotState.UNLOADED, **changes: Any
) -> Slot:
    """Return a slot of 100 bytes in a state, with changes."""
    values: dict[str, Any] = {
        "assigned": changes.pop("assigned", None) or an_assigned(model, version_id),
        "need_bytes": 100,
        "state": state,
        "memory_bytes": 0
        if state in (SlotState.UNLOADED, SlotState.FAILED)
        else changes.get("need_bytes", 100),
        "wanted": state is not SlotState.READY,
    }
    return Slot(**values | changes)
