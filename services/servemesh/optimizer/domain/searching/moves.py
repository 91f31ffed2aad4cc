"""The moves of a search: for what is known so far, the candidates worth a try, the cheap and promising first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from servemesh.optimizer.domain import pareto
from servemesh.optimizer.domain.results import PassStep, VariantReport
from servemesh.optimizer.domain.searching.knowledge import Knowledge, Steps, betters, gains

CALIBRATE_ROWS_MIN = 16
TRAIN_ROWS_MIN = 64
_WINNERS_MAX = 2
_VAIN_MAX = 2
_DEPTHS = (
    (0.5, 0.25, 0.125),
    (0.75,),
)  # kept share: deeper while it holds, then shallower if the first broke


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A candidate, and why it is worth a try."""

    steps: Steps
    why: str


def proposals(known: Knowledge) -> Iterator[Proposal]:
    """Give every candidate that is worth a try now, tried or not, the most promising first."""
    yield from _cleaned(known)
    base = base_of(known)
    for numeric, why in numerics(known):
        yield from _on_base(known, base, numeric, why)
    yield from _thinned(known, base)
    if known.question.data.train_rows >= TRAIN_ROWS_MIN:
        yield from _trained(known, base)
    yield from _combined(known, base)


def step(pass_id: str, **parameters: object) -> PassStep:
    """Return a step; what is not given has its default."""
    return PassStep(pass_id=pass_id, parameters=parameters)


def base_of(known: Knowledge) -> Steps:
    """Return the lossless passes on which all else is built: the longest sequence that did no harm."""
    for steps in reversed(_cleanings(known)):
        variant = known.keeps(steps)
        if variant is not None and not pareto.is_slower(variant):
            return steps
    return ()


def numerics(known: Knowledge) -> Iterator[tuple[PassStep, str]]:
    """Give the passes that store or compute numbers in fewer bits, as apt to this model and machine."""
    model, machine, data = known.question.model, known.question.machine, known.question.data
    if model.is_quantized or not model.layer_count:
        return
    can_calibrate = data.calibrate_rows >= CALIBRATE_ROWS_MIN
    half = step("fp16", compute="float16" if machine.has_accelerator else "float32")
    if machine.has_accelerator:
        yield half, "the accelerator computes in float16"
    elif not machine.multiplies_int8:
        yield half, "weights take half the room, and this processor gains little by int8"
    if model.has_convolutions and can_calibrate:
        yield step("int8_static"), "convolutions compute in int8 with calibrated ranges"
    if model.has_products:
        yield step("int8_dynamic"), "matrix products compute in int8 without data"
    if model.has_products and not model.has_convolutions and can_calibrate:
        yield step("int8_static"), "matrix products compute in int8 with calibrated ranges"
    if model.has_products and not model.has_convolutions:
        yield step("weight_only", bits=8), "weights take a quarter of the room"
        yield step("weight_only", bits=4), "weights take an eighth of the room"
    if machine.multiplies_int8 and not machine.has_accelerator:
        yield half, "weights take half the room at no loss of speed"


def _cleanings(known: Knowledge) -> list[Steps]:
    model = known.question.model
    if model.has_trees:
        return [(step("compact_trees"),)]
    simplified: Steps = (step("simplify"),)
    if not model.layer_count:
        return [simplified]
    before = () if known.failed(simplified) or known.breaks(simplified) else simplified
    return [simplified, (*before, step("fuse"))]


def _cleaned(known: Knowledge) -> Iterator[Proposal]:
    for steps in _cleanings(known):
        yield Proposal(steps=steps, why="changes no number, so it can only help")
        if known.find(steps) is None:
            return  # what follows depends on how this one goes


def _on_base(known: Knowledge, base: Steps, numeric: PassStep, why: str) -> Iterator[Proposal]:
    unfused = _unfused(base)
    steps = (
        *(unfused if numeric.pass_id == "int8_static" else base),
        numeric,
    )  # it calibrates standard operators
    yield Proposal(steps=steps, why=why)
    variant = known.measured(steps)
    if known.failed(steps) or (variant is not None and variant.size_ratio > pareto.SMALLER):
        steps = (*unfused, numeric)  # what fuse made was nothing that this pass takes
        yield Proposal(steps=steps, why=f"{why}; after fuse it did nothing")
    yield from _remedies(known, steps, numeric)


def _remedies(known: Knowledge, steps: Steps, numeric: PassStep) -> Iterator[Proposal]:
    """Give gentler forms of a quantisation that cost too much accuracy, until two cost no less than what was before."""
    broken, vain = known.breaks(steps), 0
    if broken is None:
        return
    for remedy, why in _gentler(known, numeric):
        gentle = (*steps[:-1], remedy)
        yield Proposal(steps=gentle, why=why)
        variant = known.measured(gentle)
        if variant is None or known.keeps(gentle):
            return
        vain += not _loss(variant) < _loss(broken)
        if vain == _VAIN_MAX:
            return
        broken = variant


def _gentler(known: Knowledge, numeric: PassStep) -> Iterator[tuple[PassStep, str]]:
    layers = known.question.model.layer_count
    counts = sorted({max(1, layers // 8), max(1, layers // 4), max(1, layers // 2)} - {layers})
    if numeric.pass_id == "int8_static":
        for count in counts:
            yield step("int8_static", sensitive_excluded=count), _spared(count)
        if counts:
            gentlest = step("int8_static", sensitive_excluded=counts[-1], calibration="percentile")
            yield gentlest, "cuts off what few activations reach, besides"
        return
    if numeric.pass_id == "int8_dynamic":
        yield step("int8_dynamic", op_types=["MatMul", "Gemm"]), "leaves the embeddings as they were"
    if numeric.parameters.get("bits") == 4:
        yield (
            step("weight_only", bits=4, block_size=16, symmetric=False),
            "gives more weights a scale of their own",
        )
    if numeric.pass_id in ("int8_dynamic", "weight_only"):
        for count in counts:
            if known.sensitive and count < len(known.sensitive):
                excluded = list(known.sensitive[:count])
                parameters = {**numeric.parameters, "nodes_excluded": excluded}
                yield replace(numeric, parameters=parameters), _spared(count)


def _spared(count: int) -> str:
    layers = "the most sensitive layer" if count == 1 else f"the {count} most sensitive layers"
    return f"leaves {layers} as before"


def _thinned(known: Knowledge, base: Steps) -> Iterator[Proposal]:
    """Give forests with fewer trees and machines with fewer vectors, fewer as long as the answers stay."""
    model = known.question.model
    if known.question.data.calibrate_rows < CALIBRATE_ROWS_MIN:
        return
    if model.has_trees:
        yield from _deeper(known, base, "prune_trees", "tree_ratio", "of the trees")
    if model.has_vectors:
        yield from _deeper(known, base, "reduce_svm", "vector_ratio", "of the support vectors")


def _trained(known: Knowledge, base: Steps) -> Iterator[Proposal]:
    """Give models with parts removed and students of half the width, trained to answer as before."""
    model = known.question.model
    if model.layer_count and not model.is_quantized:
        simplified = _unfused(base)
        yield from _deeper(known, simplified, "distil", "width_kept", "of the width, taught by the original")
        yield from _deeper(
            known, simplified, "prune_structured", "ratio", "of the channels and units", removed=True
        )
    elif model.has_trees or model.has_vectors:
        student = step("distil", student="mlp")
        yield Proposal(steps=(student,), why="a small perceptron may answer as the model does")


def _deeper(
    known: Knowledge, base: Steps, pass_id: str, parameter: str, what: str, *, removed: bool = False
) -> Iterator[Proposal]:
    deep, shallow = _DEPTHS
    parent: VariantReport | None = None
    for kept in deep:
        proposal = Proposal(
            steps=(*base, step(pass_id, **{parameter: 1 - kept if removed else kept})),
            why=f"keeps {kept:g} {what}",
        )
        yield proposal
        variant = known.keeps(proposal.steps)
        if variant is None or not betters(variant, parent):
            break
        parent = variant
    if parent is None and known.breaks((*base, step(pass_id, **{parameter: deep[0]}))):
        for kept in shallow:
            steps = (*base, step(pass_id, **{parameter: 1 - kept if removed else kept}))
            yield Proposal(steps=steps, why=f"keeps {kept:g} {what}")


def _combined(known: Knowledge, base: Steps) -> Iterator[Proposal]:
    """Give the best of the smaller architectures with the numbers that did well on the whole model."""
    kept = [
        trial
        for trial in known.trials
        if _shrinks(trial.steps[-1:]) and trial.variant and known.keeps(trial.steps) and gains(trial.variant)
    ]
    order = pareto.best_first([trial.variant for trial in kept if trial.variant])
    winners = [next(trial for trial in kept if trial.variant is variant) for variant in order[:_WINNERS_MAX]]
    endings = list(_numbers_that_did_well(known))
    for winner in winners:
        for ending in endings:
            yield Proposal(steps=(*winner.steps, ending), why="joins two that did well alone")
        if any(each.pass_id == "fuse" for each in base):
            yield Proposal(steps=(*winner.steps, step("fuse")), why="fuses the smaller model")


def _numbers_that_did_well(known: Knowledge) -> Iterator[PassStep]:
    """Give the last steps of quantised models that keep the accuracy and gain, none that made the model slower
    unless a size is asked for."""
    wants_size = known.question.gate.size_ratio_max is not None
    for trial in known.trials:
        variant = known.keeps(trial.steps)
        if variant is None or not _quantizes(trial.steps) or _shrinks(trial.steps) or not gains(variant):
            continue
        if wants_size or not pareto.is_slower(variant):
            yield trial.steps[-1]


def _unfused(steps: Steps) -> Steps:
    return tuple(each for each in steps if each.pass_id != "fuse")


def _shrinks(steps: Sequence[PassStep]) -> bool:
    return any(each.pass_id in ("distil", "prune_structured") for each in steps)


def _quantizes(steps: Sequence[PassStep]) -> bool:
    return any(
        each.pass_id in ("fp16", "bf16", "int8_dynamic", "int8_static", "weight_only") for each in steps
    )


def _loss(variant: VariantReport) -> float:
    return variant.metric_loss.value if variant.metric_loss else float("inf")
