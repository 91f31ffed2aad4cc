"""The slots as the data path sees them: what inference asks of residency."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol

from servemesh.worker.domain.batching import BatchPolicy
from servemesh.worker.domain.requests import RequestPlan
from servemesh.worker.domain.signature import Signature
from servemesh.worker.service.batcher import Batcher
from servemesh.worker.service.statistics import Statistics


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadySlot:
    """A Version that answers calls now. Made by the loader once it is warm; `batcher` has been entered.

    `plan` is made of the signature, once for all calls.
    """

    model: str
    version_id: int
    signature: Signature
    policy: BatchPolicy
    batcher: Batcher
    statistics: Statistics
    plan: RequestPlan = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "plan", RequestPlan(self.signature))


class SlotView(Protocol):
    """One slot as it stands, for index, metadata and statistics."""

    @property
    def model(self) -> str:
        """The model's id."""

    @property
    def version_id(self) -> int:
        """The Version's id."""

    @property
    def state(self) -> str:
        """UNLOADED, LOADING, WARMING, READY, DRAINING or FAILED."""

    @property
    def signature(self) -> Signature:
        """What the Version takes and gives, known before it is resident."""

    @property
    def policy(self) -> BatchPolicy:
        """How its calls are batched."""

    @property
    def is_default(self) -> bool:
        """Whether it answers calls that name no version."""

    @property
    def aliases(self) -> tuple[str, ...]:
        """The aliases it answers to."""

    @property
    def reason(self) -> str:
        """UPPER_SNAKE reason of a failure, empty otherwise."""

    @property
    def message(self) -> str:
        """What went wrong, in words for the user."""

    @property
    def memory_bytes(self) -> int:
        """Memory it takes; 0 while UNLOADED."""

    @property
    def statistics(self) -> Statistics | None:
        """What it has done; None before it was first READY. Kept over unload and load."""


class Slots(Protocol):
    """What this worker holds and should hold."""

    def find(self, model: str, version: str, pinned: str = "") -> ReadySlot:
        """Return the slot that answers a call, without waiting.

        `version` is a version id, an alias or empty; `pinned` is the version id that the edge chose for a call
        that names none. Raises oip.unknown_model or oip.not_ready.
        """

    async def ready(self, model: str, version: str, pinned: str = "") -> ReadySlot:
        """Like `find`, but load the Version first if it is assigned and not resident."""

    async def unload(self, model: str) -> None:
        """Make every Version of the model not resident. Raises oip.unknown_model."""

    def slots(self) -> Iterable[SlotView]:
        """Return every slot, ordered by model and version."""
