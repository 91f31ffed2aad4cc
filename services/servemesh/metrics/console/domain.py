"""Which questions pages may ask: what the mesh's APIs read, and a few changes that an operator needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from servemesh.errors import MissingError

READING = ("Get", "List", "Compare", "Query")


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """One method of one of the mesh's services."""

    service: str
    name: str


SERVICES: Mapping[str, str] = {
    "registry": "servemesh.api.registry.v1.RegistryService",
    "fleet": "servemesh.api.fleet.v1.FleetService",
    "optimizer": "servemesh.api.optimizer.v1.OptimizerService",
    "metrics": "servemesh.api.metrics.v1.MetricsService",
}
"""By the word that pages use."""

CHANGING = frozenset({"CreateReport", "CreateSilence", "DeleteSilence", "CancelJob"})
"""What pages may change: nothing that serves calls."""


def method_of(word: str, name: str) -> Method:
    """Return the method of a question. MissingError for a service that is not known or a method that is not offered."""
    service = SERVICES.get(word)
    if service is None or not (name.startswith(READING) or name in CHANGING):
        raise MissingError(
            f"the console does not ask {word[:64]}.{name[:64]}; it asks what reads of {', '.join(SERVICES)}",
            reason="QUESTION_UNKNOWN",
        )
    return Method(service=service, name=name)
