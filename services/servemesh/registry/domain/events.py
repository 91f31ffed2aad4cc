"""What happened, in the past tense: the facts that the registry tells the rest of the mesh."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Kind(StrEnum):
    """Service, noun and participle of a fact, as they stand in its NATS subject."""

    MODEL_CREATED = "registry.model.created"
    MODEL_UPDATED = "registry.model.updated"
    MODEL_DELETED = "registry.model.deleted"
    VERSION_CREATED = "registry.version.created"
    VERSION_DELETED = "registry.version.deleted"
    VERSION_QUARANTINED = "registry.version.quarantined"
    ALIAS_MOVED = "registry.alias.moved"
    ALIAS_DELETED = "registry.alias.deleted"
    DEPLOYMENT_CREATED = "registry.deployment.created"
    DEPLOYMENT_UPDATED = "registry.deployment.updated"
    DEPLOYMENT_DELETED = "registry.deployment.deleted"
    WORKER_JOINED = "fleet.worker.joined"
    WORKER_LEFT = "fleet.worker.left"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One fact about `resource`. `subject_id` is the model or worker id that ends the subject."""

    event_id: str
    kind: Kind
    resource: str
    subject_id: str
    revision: int
    occur_time: datetime
    version: str = ""
    lease_expired: bool = False

    @property
    def subject(self) -> str:
        """Where it is published, for example `servemesh.v1.registry.alias.moved.minilm`."""
        return f"servemesh.v1.{self.kind}.{self.subject_id}"
