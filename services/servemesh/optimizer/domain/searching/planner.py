"""The planner of `auto`: what to try next within the time that is left, and what came of it all."""

from __future__ import annotations

from statistics import median

from servemesh.optimizer.domain import gates, pareto
from servemesh.optimizer.domain.results import VariantReport
from servemesh.optimizer.domain.searching.knowledge import Knowledge, Steps, key_of
from servemesh.optimizer.domain.searching.moves import Proposal, proposals

TRIALS_MAX = 40
_MEASURE_S = 5.0
_PASS_S = 5.0
_PASS_S_BY_ID = {
    "int8_static": 20.0,
    "prune_trees": 20.0,
    "reduce_svm": 20.0,
    "prune_structured": 60.0,
    "distil": 60.0,
}
_HEAVY_BYTES = 50 * 1024**2
"""A model of so many bytes takes twice as long as a tiny one, until it is known better."""
_MARGIN = 1.3
"""How much longer than expected a try may take and still be begun."""


def next_move(known: Knowledge, left_s: float) -> Proposal | None:
    """Return the candidate to try next; None if nothing promising fits into the time that is left."""
    if len(known.trials) >= TRIALS_MAX:
        return None
    for proposal in proposals(known):
        if known.find(proposal.steps) is None and expected_s(known, proposal.steps) * _MARGIN <= left_s:
            return proposal
    return None


def wants_ranking(known: Knowledge) -> bool:
    """Whether to find out which layers suffer most: a quantisation that leaves it to the search broke the accuracy."""
    if known.sensitive is not None or known.question.data.calibrate_rows == 0:
        return False
    last = known.trials[-1].steps
    return last[-1].pass_id in ("int8_dynamic", "weight_only") and known.breaks(last) is not None


def expected_s(known: Knowledge, steps: Steps) -> float:
    """Return how long a candidate will take, by how long its passes and measurements took before."""
    made = {key_of(trial.steps[: index + 1]) for trial in known.trials for index in range(len(trial.pass_s))}
    new = [each for index, each in enumerate(steps) if key_of(steps[: index + 1]) not in made]
    return sum(_pass_s(known, each.pass_id) for each in new) + measure_s(known)


def measure_s(known: Knowledge) -> float:
    """Return how long measuring one candidate takes."""
    times = [trial.measure_s for trial in known.trials if trial.measure_s]
    return median(times) if times else _MEASURE_S * _heaviness(known)


def finalists(known: Knowledge, count_max: int) -> list[VariantReport]:
    """Return the variants that are worth measuring again with care: accepted, on the front, each digest once."""
    gate = known.question.gate
    seen: dict[str, VariantReport] = {}
    for trial in known.trials:
        if trial.variant is not None and not gates.refusals(gate, trial.variant):
            seen.setdefault(trial.variant.sha256, trial.variant)
    on_front = [variant for variant in pareto.marked(list(seen.values())) if variant.pareto]
    return pareto.best_first(on_front)[:count_max]


def _pass_s(known: Knowledge, pass_id: str) -> float:
    times = [
        seconds
        for trial in known.trials
        for each, seconds in zip(trial.steps, trial.pass_s, strict=False)
        if each.pass_id == pass_id and seconds
    ]
    return max(times) if times else _PASS_S_BY_ID.get(pass_id, _PASS_S) * _heaviness(known)


def _heaviness(known: Knowledge) -> float:
    return 1 + known.question.model.size_bytes / _HEAVY_BYTES
