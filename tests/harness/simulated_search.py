"""A made-up world for the planner of `auto`: every pass has a true effect, drawn by a seed, and figures have noise."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from servemesh.optimizer.domain.results import Interval, PassStep, SpeedReport, VariantReport
from servemesh.optimizer.domain.searching import planner
from servemesh.optimizer.domain.searching.knowledge import (
    DataFacts,
    Knowledge,
    MachineFacts,
    ModelFacts,
    Question,
    Steps,
    Trial,
    key_of,
)
from servemesh.optimizer.domain.searching.moves import Proposal
from servemesh.optimizer.domain.specs import Gate

MODELS = {
    "perceptron": {"Gemm": 3, "Relu": 2},
    "convolutional": {"Conv": 8, "Relu": 8, "Gemm": 1},
    "transformer": {"MatMul": 48, "Softmax": 6, "Transpose": 24, "Gather": 3},
    "forest": {"TreeEnsembleClassifier": 1},
    "vectors": {"SVMClassifier": 1, "Scaler": 1},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """What a pass does in this world."""

    speed: float
    size: float
    loss: float
    cost_s: float
    fails: bool


@dataclass(slots=True, kw_only=True)
class World:
    """One model on one machine. `effect` says the truth, `measured` what a measurement says of it."""

    seed: int
    question: Question
    noise: float
    rule: Callable[[PassStep], Effect] | None = None  # instead of the draw
    effects: dict[str, Effect] = field(default_factory=dict)

    def effect(self, step: PassStep) -> Effect:
        """Return the effect of a step, the same whenever it is asked."""
        key = key_of([step])
        if key not in self.effects:
            draw = random.Random(f"{self.seed} {key}")
            self.effects[key] = self.rule(step) if self.rule else _drawn(draw, step)
        return self.effects[key]

    def truth(self, steps: Steps) -> Effect | None:
        """Return what all the steps together do; None if one of them fails."""
        effects = [self.effect(step) for step in steps]
        if any(each.fails for each in effects):
            return None
        return Effect(
            speed=math.prod(each.speed for each in effects),
            size=math.prod(each.size for each in effects),
            loss=sum(each.loss for each in effects),
            cost_s=sum(each.cost_s for each in effects),
            fails=False,
        )

    def measured(self, steps: Steps) -> VariantReport | None:
        """Return the figures of a measurement, with its noise."""
        true = self.truth(steps)
        if true is None:
            return None
        draw = random.Random(f"{self.seed} measured {key_of(steps)}")
        speedup = true.speed * math.exp(draw.gauss(0, self.noise / 2))
        loss = true.loss
        return VariantReport(
            steps=steps,
            sha256=key_of(steps),
            size_bytes=int(1_000_000 * true.size),
            size_ratio=true.size,
            metric=Interval(value=0.9 - loss, low=0.88 - loss, high=0.92 - loss),
            metric_loss=Interval(value=loss, low=loss - 0.001, high=loss + 0.001),
            speeds=(
                SpeedReport(
                    batch_size=1,
                    run_ms=Interval(value=1 / speedup, low=1 / speedup, high=1 / speedup),
                    speedup=Interval(
                        value=speedup, low=speedup * (1 - self.noise), high=speedup * (1 + self.noise)
                    ),
                ),
            ),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """How a search went: what it knew at its end, and how much of its budget each try left over."""

    known: Knowledge
    moves: tuple[Proposal, ...]
    left_s: tuple[float, ...]  # before each try
    spent_s: float


def a_world(seed: int) -> World:
    """Return a world drawn by the seed."""
    draw = random.Random(seed)
    question = Question(
        model=ModelFacts(operators=draw.choice(list(MODELS.values())), size_bytes=1_000_000),
        machine=MachineFacts(has_accelerator=draw.random() < 0.1),
        data=draw.choice(
            [DataFacts(), DataFacts(calibrate_rows=100), DataFacts(calibrate_rows=180, train_rows=1200)]
        ),
        gate=Gate(
            metric_loss_max=draw.choice([None, 0.01, 0.01, 0.05]),
            size_ratio_max=draw.choice([None, None, 0.5]),
            speedup_min=draw.choice([None, None, 1.2]),
        ),
    )
    return World(seed=seed, question=question, noise=draw.choice([0.01, 0.05, 0.1]))


def searched(world: World, budget_s: float, known: Knowledge | None = None) -> History:
    """Search `world` to the end, from what is known."""
    known, spent_s = known or Knowledge(question=world.question), 0.0
    moves: list[Proposal] = []
    left: list[float] = []
    paid: set[str] = set()
    while (move := planner.next_move(known, budget_s - spent_s)) is not None:
        moves.append(move)
        left.append(budget_s - spent_s)
        trial = _tried(world, move.steps, paid)
        spent_s += sum(trial.pass_s) + trial.measure_s
        known = replace(known, trials=(*known.trials, trial))
    return History(known=known, moves=tuple(moves), left_s=tuple(left), spent_s=spent_s)


def _tried(world: World, steps: Steps, paid: set[str]) -> Trial:
    pass_s = []
    for index, step in enumerate(steps):
        key = key_of(steps[: index + 1])
        effect = world.effect(step)
        pass_s.append(0.0 if key in paid else effect.cost_s)
        paid.add(key)
        if effect.fails:
            return Trial(steps=steps, failure="it failed", pass_s=tuple(pass_s))
    return Trial(steps=steps, variant=world.measured(steps), pass_s=tuple(pass_s), measure_s=4.0)


def _drawn(draw: random.Random, step: PassStep) -> Effect:
    kept = float(
        step.parameters.get("width_kept")
        or step.parameters.get("tree_ratio")
        or step.parameters.get("vector_ratio")
        or 1 - float(step.parameters.get("ratio", 0))
    )
    lossless = step.pass_id in ("simplify", "compact_trees", "fuse")
    shrinks = step.pass_id in ("distil", "prune_structured", "prune_trees", "reduce_svm")
    bits = {"fp16": 0.5, "int8_dynamic": 0.26, "int8_static": 0.27, "weight_only": 0.27}
    spared = 1 / (1 + float(step.parameters.get("sensitive_excluded", 0)))
    if lossless:
        speed, size, loss = math.exp(abs(draw.gauss(0, 0.1))), draw.uniform(0.9, 1.0), 0.0
    elif shrinks:
        speed, size, loss = (
            kept ** -draw.uniform(0.3, 1),
            kept ** draw.uniform(1, 2),
            draw.expovariate(80) / kept,
        )
    else:
        speed = math.exp(draw.gauss(0.1, 0.5))
        size, loss = bits.get(step.pass_id, 1.0) * draw.uniform(1, 1.3), draw.expovariate(100) * spared
    return Effect(
        speed=speed,
        size=size,
        loss=loss,
        cost_s=draw.uniform(20, 60) if shrinks else draw.uniform(1, 10),
        fails=draw.random() < 0.08,
    )
