"""What a trouble most likely came from: the last change before it began, of the same thing if there is one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from servemesh.metrics.domain.queries import Annotation

BEFORE_S = 1_800.0
"""A change longer ago is not held for the cause."""
AFTER_S = 60.0
"""Facts travel, and clocks differ: a change may be noted a little after what it caused, and steps are long."""
_NOISE = ("alert.", "job.queued", "job.started", "model.created", "version.created")


def onset_s(values: NDArray[np.float64], begin_s: float, step_s: float) -> float | None:
    """Return when a rate rose: the first step of the longest stretch above a quarter of its highest value."""
    known = np.nan_to_num(values, nan=0.0)
    if not known.size or known.max() <= 0:
        return None
    is_high = known > known.max() / 4
    edges = np.flatnonzero(np.diff(np.concatenate(([0], is_high.astype(np.int8), [0]))))
    stretches = edges.reshape(-1, 2)
    longest = stretches[np.argmax([known[first:last].sum() for first, last in stretches])]
    return begin_s + int(longest[0]) * step_s


def cause_of(
    model: str, began_s: float, changes: Sequence[Annotation], *, step_s: float = 0.0, worker: str = ""
) -> Annotation | None:
    """Return the change that a trouble of a model, or of a worker, most likely came from; None if nothing changed.

    A change of the model or the worker itself goes before one of any worker, and that before anything else; of
    those the last one before the trouble. `step_s` is how exactly its beginning is known.
    """
    near = [
        change
        for change in changes
        if began_s - BEFORE_S <= change.time_s <= began_s + step_s + AFTER_S
        and not change.kind.startswith(_NOISE)
    ]
    return max(near, key=lambda change: (_nearness(model, worker, change), change.time_s), default=None)


def told(cause: Annotation | None, began_s: float | None) -> str:
    """Return the cause in words."""
    if began_s is None:
        return ""
    if cause is None:
        return "nothing changed in the half hour before it began"
    after_s = began_s - cause.time_s
    when = f"{after_s / 60:.0f} min after" if after_s >= 60 else "with"  # a step is not looked into
    return f"began {when} {cause.kind} of {cause.resource}: {cause.text}"


def _nearness(model: str, worker: str, change: Annotation) -> int:
    own = {f"models/{model}", f"deployments/{model}"} if model else set()
    own |= {f"workers/{worker}"} if worker else set()
    if any(change.resource == name or change.resource.startswith(f"{name}/") for name in own):
        return 2
    return 1 if change.resource.startswith("workers/") else 0
