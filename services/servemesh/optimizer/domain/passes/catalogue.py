"""Every pass that this optimizer knows, by id."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from servemesh.optimizer.domain.passes.ensembles import ENSEMBLE_PASSES
from servemesh.optimizer.domain.passes.graphs import GRAPH_PASSES
from servemesh.optimizer.domain.passes.quantizing import QUANTIZING_PASSES
from servemesh.optimizer.domain.passes.spec import PassSpec
from servemesh.optimizer.domain.passes.training import TRAINING_PASSES

__all__ = ["PASSES", "PassSpec"]

_ALL = (*GRAPH_PASSES, *QUANTIZING_PASSES, *ENSEMBLE_PASSES, *TRAINING_PASSES)
PASSES: Mapping[str, PassSpec] = MappingProxyType(
    {spec.pass_id: spec for spec in sorted(_ALL, key=lambda spec: spec.pass_id)}
)
