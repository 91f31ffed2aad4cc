"""How the calls for a Model that name no version are shared among its Versions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """The share of one Version or Alias of the Model."""

    version: str  # "3" or "prod"
    percent: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """The shares of every deployed Model."""

    by_model: Mapping[str, tuple[Share, ...]] = field(default_factory=dict)
