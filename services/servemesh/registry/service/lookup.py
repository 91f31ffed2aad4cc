"""Rows that must be there."""

from __future__ import annotations

from servemesh import names
from servemesh.errors import MissingError
from servemesh.registry.domain.aliases import Alias
from servemesh.registry.domain.deployments import Deployment
from servemesh.registry.domain.models import Model, ModelVersion
from servemesh.registry.service.ports import Transaction


async def model(tx: Transaction, model_id: str) -> Model:
    """The Model; MissingError if there is none."""
    found = await tx.models.find(model_id)
    if found is None:
        raise missing("MODEL_MISSING", names.model(model_id))
    return found


async def version(tx: Transaction, model_id: str, version_id: int) -> ModelVersion:
    """The Version; MissingError if there is none."""
    found = await tx.models.find_version(model_id, version_id)
    if found is None:
        raise missing("VERSION_MISSING", names.version(model_id, version_id))
    return found


async def alias(tx: Transaction, model_id: str, alias_id: str) -> Alias:
    """The Alias; MissingError if there is none."""
    found = await tx.aliases.find(model_id, alias_id)
    if found is None:
        raise missing("ALIAS_MISSING", names.alias(model_id, alias_id))
    return found


async def deployment(tx: Transaction, model_id: str) -> Deployment:
    """The Deployment; MissingError if there is none."""
    found = await tx.deployments.find(model_id)
    if found is None:
        raise missing("DEPLOYMENT_MISSING", names.deployment(model_id))
    return found


def missing(reason: str, name: str) -> MissingError:
    """The error for a resource that is not there."""
    return MissingError(f"{name} does not exist", reason=reason, name=name)
