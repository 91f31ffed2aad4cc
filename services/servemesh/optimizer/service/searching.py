"""`auto`: tries what the planner says until the time is up or nothing is left, then measures the best with care."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from servemesh.errors import ServemeshError, UnavailableError
from servemesh.optimizer.domain.results import OptimizationResult, PassStep, VariantReport
from servemesh.optimizer.domain.searching import planner
from servemesh.optimizer.domain.searching.knowledge import (
    DataFacts,
    Knowledge,
    MachineFacts,
    ModelFacts,
    Question,
    Trial,
)
from servemesh.optimizer.domain.searching.moves import Proposal, base_of
from servemesh.optimizer.domain.specs import OptimizationSpec
from servemesh.optimizer.service import judging
from servemesh.optimizer.service.bench_measuring import Measured, measure
from servemesh.optimizer.service.ports import ChildTasks, JobProgress
from servemesh.optimizer.service.workshop import Bench, Made, Monotonic, Workshop

FINALISTS_MAX = 4
_TOLD = 12  # layers that the log names
_SEARCH_SHARE = 0.9  # of the budget; the rest is for registering
_FINAL_SHARE_MAX = 0.4  # of what is left
_FINAL_RATIO = 3.0  # of the time of the last measurement to that of a quick one, for each model
_BEGUN, _SEARCHED, _MEASURED = 0.05, 0.8, 0.97  # shares of the job


class Search:
    """One search."""

    def __init__(
        self,
        spec: OptimizationSpec,
        bench: Bench,
        original: Made,
        workshop: Workshop,
        children: ChildTasks,
        monotonic: Monotonic,
        progress: JobProgress,
    ) -> None:
        self._spec = spec
        self._bench = bench
        self._original = original
        self._workshop = workshop
        self._children = children
        self._monotonic = monotonic
        self._progress = progress
        self._made: dict[str, Made] = {}
        self._libraries: dict[str, str] = {}
        self._seen: Measured | None = None
        self._span_s = (0.0, 1.0)
        self._trying = ""

    async def run(self, facts: Mapping[str, Any], begin_s: float, budget_s: float) -> OptimizationResult:
        """Return the front and everything else that was measured within `budget_s` from `begin_s` on."""
        until_s = begin_s + budget_s * _SEARCH_SHARE
        self._span_s = (begin_s, until_s)
        known = Knowledge(question=_question(self._spec, facts))
        while (move := planner.next_move(known, self._left_s(known, until_s))) is not None:
            self._trying = _words(move.steps)
            self._told(0.0, "")
            self._progress.log(f"trying {_words(move.steps)}: {move.why}")
            trial = await self._tried(move)
            known = replace(known, trials=(*known.trials, trial))
            if planner.wants_ranking(known):
                known = replace(known, sensitive=await self._ranked(known))
            self._tell(known, trial)
        return await self._finished(known)

    def _left_s(self, known: Knowledge, until_s: float) -> float:
        """Return the time that is left for tries, less what the last measurement will take."""
        left_s = until_s - self._monotonic()
        final_s = planner.measure_s(known) * _FINAL_RATIO * (FINALISTS_MAX + 1) / 2
        return left_s - min(final_s, left_s * _FINAL_SHARE_MAX)

    async def _tried(self, move: Proposal) -> Trial:
        """Make and measure one candidate; what fails is known as failed."""
        try:
            made = await self._workshop.candidate(move.steps, self._told)
            begin_s = self._monotonic()
            measured = await measure(
                self._children,
                self._bench,
                [self._original, made],
                self._spec.measurement,
                self._monotonic,
                self._told,
                is_quick=True,
            )
        except UnavailableError:
            raise
        except ServemeshError as error:
            self._progress.log(f"{_words(move.steps)} comes to nothing: {error.message}")
            return Trial(steps=move.steps, failure=error.message)
        self._made[made.sha256] = made
        self._libraries |= made.libraries
        self._seen = measured
        return Trial(
            steps=move.steps,
            variant=measured.reports[1],
            pass_s=made.pass_s,
            measure_s=self._monotonic() - begin_s,
        )

    async def _ranked(self, known: Knowledge) -> tuple[str, ...]:
        """Return the layers of the base, those that suffer most in int8 first; none if they cannot be ranked."""
        try:
            base = await self._workshop.candidate(base_of(known), self._told)
            answer = await self._children.run(
                "sensitivity",
                {"model": base.path, "data": self._bench.data, "threads": self._bench.threads},
                self._bench.folder,
                self._bench.limits(self._monotonic()),
                self._told,
                self._bench.log,
            )
        except UnavailableError:
            raise
        except ServemeshError as error:
            self._progress.log(f"the layers cannot be ranked: {error.message}")
            return ()
        nodes = answer["nodes"]
        worst = ", ".join(f"{node['name']} ({node['sqnr_db']:.0f} dB)" for node in nodes[:_TOLD])
        self._progress.log(f"most sensitive to int8 of {len(nodes)} layers: {worst}")
        return tuple(node["name"] for node in nodes)

    async def _finished(self, known: Knowledge) -> OptimizationResult:
        """Measure the best again, side by side, and judge all by their newest figures."""
        best = planner.finalists(known, FINALISTS_MAX)
        others = _distinct(known, {variant.sha256 for variant in best})
        rest = judging.passed_over(self._spec.gate, others)
        final = [self._original, *(self._made[variant.sha256] for variant in best)]
        if not best and self._seen is not None:
            return judging.result(self._seen, rest, self._libraries)
        measured = await measure(
            self._children,
            self._bench,
            final,
            self._spec.measurement,
            self._monotonic,
            lambda share, step: self._progress.progress(_SEARCHED + (_MEASURED - _SEARCHED) * share, step),
        )
        for note in measured.notes:
            self._progress.log(note)
        finals = judging.judged(self._spec.gate, measured.reports[1:], distinct=True)
        return judging.result(measured, (*finals, *rest), self._libraries)

    def _tell(self, known: Knowledge, trial: Trial) -> None:
        if trial.variant is None or self._seen is None:
            return
        self._progress.log(f"{_words(trial.steps)}: {judging.summary(trial.variant)}")
        variants = judging.judged(self._spec.gate, _distinct(known, set()))
        self._progress.found(judging.result(self._seen, variants, self._libraries))

    def _told(self, share: float, step: str) -> None:
        """Tell what is being done; how far the search is, is told by its clock."""
        begin_s, until_s = self._span_s
        passed = min(1.0, (self._monotonic() - begin_s) / (until_s - begin_s))
        words = f"trying {self._trying}: {step}".removesuffix(": ")
        self._progress.progress(_BEGUN + (_SEARCHED - _BEGUN) * passed, words)


def _question(spec: OptimizationSpec, facts: Mapping[str, Any]) -> Question:
    return Question(
        model=ModelFacts(operators=dict(facts["operators"]), size_bytes=int(facts["size_bytes"])),
        machine=MachineFacts(
            has_accelerator=bool(facts["accelerators"]), multiplies_int8=bool(facts["instructions"])
        ),
        data=DataFacts(
            calibrate_rows=int(facts["rows"].get("calibrate", 0)),
            train_rows=int(facts["rows"].get("train", 0)),
        ),
        gate=spec.gate,
    )


def _distinct(known: Knowledge, without: set[str]) -> list[VariantReport]:
    """Return what was measured, each model once, less those with the digests in `without`."""
    found: dict[str, VariantReport] = {}
    for trial in known.trials:
        if trial.variant is not None and trial.variant.sha256 not in without:
            found.setdefault(trial.variant.sha256, trial.variant)
    return list(found.values())


def _words(steps: tuple[PassStep, ...]) -> str:
    return " + ".join(step.pass_id for step in steps)
