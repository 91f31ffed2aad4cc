"""Makes candidates: one pass after the other in child processes, each output kept so that no pass runs twice."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from servemesh.optimizer.domain.passes.spec import PassSpec
from servemesh.optimizer.domain.recipes import completed
from servemesh.optimizer.domain.results import PassStep
from servemesh.optimizer.domain.work import WorkLimits
from servemesh.optimizer.service.model_files import WEIGHTS, beside, digest_of
from servemesh.optimizer.service.ports import ChildTasks, OnProgress, PassCache

SEED = 0
"""Of everything random in passes and measurements: the same inputs give the same bytes."""

LibraryVersions = Callable[[Sequence[str]], Mapping[str, str]]
Monotonic = Callable[[], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """What the steps of one job share: its folder, rows, bounds, and where they report to.

    `machine` tells processors apart on which a pass makes other bytes. `until_s` is when the job's time is up.
    """

    folder: Path
    data: str | None
    data_digest: str
    memory_bytes: int
    threads: int
    until_s: float
    machine: str
    log: Callable[[str], None]

    def on_machine(self, instructions: Sequence[str]) -> Bench:
        """Return the bench on a processor with these instructions."""
        return replace(self, machine=" ".join(instructions))

    def limits(self, now_s: float) -> WorkLimits:
        """Return the bounds of a child that starts now."""
        return WorkLimits(
            time_s=max(1.0, self.until_s - now_s), memory_bytes=self.memory_bytes, threads=self.threads
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A model on this machine, and the steps that made it. `sha256` of the original is its Version's."""

    path: str  # relative to the job's folder
    sha256: str
    size_bytes: int
    steps: tuple[PassStep, ...] = ()
    pass_s: tuple[float, ...] = ()  # 0 for a step that did not have to run
    libraries: Mapping[str, str] = field(default_factory=dict)


class Workshop:
    """Applies passes to the model of one job."""

    def __init__(
        self,
        bench: Bench,
        original: Made,
        teacher: Made,
        *,
        children: ChildTasks,
        cache: PassCache,
        passes: Mapping[str, PassSpec],
        libraries: LibraryVersions,
        monotonic: Monotonic,
    ) -> None:
        self._bench = bench
        self._original = original
        self._teacher = teacher
        self._children = children
        self._cache = cache
        self._passes = passes
        self._libraries = libraries
        self._monotonic = monotonic
        self._made: dict[str, Made] = {}
        self._begun = 0

    async def candidate(self, steps: Sequence[PassStep], on_progress: OnProgress) -> Made:
        """Return the original after these steps; the typed error of the first that fails."""
        made = self._original
        for number, step in enumerate(steps):

            def told(share: float, words: str, number: int = number) -> None:
                on_progress((number + share) / len(steps), words)

            made = await self.after(made, step, told)
        return made

    async def after(self, before: Made, step: PassStep, on_progress: OnProgress) -> Made:
        """Return `before` after one more step."""
        step = completed(step, self._passes)
        key = self._key(before, step)
        if key in self._made:  # other steps may have led to the same model
            return replace(self._made[key], steps=(*before.steps, step), pass_s=(*before.pass_s, 0.0))
        on_progress(0.0, step.pass_id)
        self._begun += 1
        number = self._begun
        kept = await self._kept(key, f"kept/{number}/model.onnx", before, step)
        made = kept or await self._applied(key, f"models/{number}/model.onnx", before, step, on_progress)
        self._made[key] = made
        return made

    async def _kept(self, key: str, path: str, before: Made, step: PassStep) -> Made | None:
        """Return what is in the cache, None if there is nothing."""
        target = self._bench.folder / path
        target.parent.mkdir(parents=True)
        answer = await self._cache.get(key, target)
        if answer is None:
            return None
        sha256 = await asyncio.to_thread(digest_of, target)
        made = self._after(before, step, path, sha256, answer, 0.0)
        self._tell(before, made, answer, "known from before")
        return made

    async def _applied(
        self, key: str, path: str, before: Made, step: PassStep, on_progress: OnProgress
    ) -> Made:
        """Run the pass, and keep what it made."""
        begin_s = self._monotonic()
        answer = await self._children.run(
            "pass",
            {
                "pass": step.pass_id,
                "parameters": dict(step.parameters),
                "model": before.path,
                "out": path,
                "data": self._bench.data,
                "seed": SEED,
                "threads": self._bench.threads,
                "teacher": self._teacher.path if self._passes[step.pass_id].trains else None,
            },
            self._bench.folder,
            self._bench.limits(begin_s),
            on_progress,
            self._bench.log,
        )
        took_s = self._monotonic() - begin_s
        sha256 = await self._cache.put(key, self._bench.folder / path, answer)
        made = self._after(before, step, path, sha256, answer, took_s)
        self._tell(before, made, answer, f"{took_s:.1f} s")
        return made

    def _after(
        self, before: Made, step: PassStep, path: str, sha256: str, answer: Mapping[str, Any], took_s: float
    ) -> Made:
        return Made(
            path=path,
            sha256=sha256,
            size_bytes=_size_bytes(self._bench.folder / path),
            steps=(*before.steps, step),
            pass_s=(*before.pass_s, took_s),
            libraries={**before.libraries, **answer.get("libraries", {})},
        )

    def _key(self, before: Made, step: PassStep) -> str:
        """Return the digest of all that the output depends on."""
        spec = self._passes[step.pass_id]
        parts = {
            "model": before.sha256,
            "pass": step.pass_id,
            "parameters": dict(step.parameters),
            "seed": SEED,
            "data": self._bench.data_digest if spec.calibrates or spec.trains else "",
            "teacher": self._teacher.sha256 if spec.trains else "",
            "machine": self._bench.machine,
            "libraries": dict(self._libraries(("servemesh", *spec.libraries))),
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def _tell(self, before: Made, made: Made, answer: Mapping[str, Any], took: str) -> None:
        pass_id = made.steps[-1].pass_id
        ratio = made.size_bytes / before.size_bytes if before.size_bytes else 1.0
        self._bench.log(
            f"{pass_id}: {before.size_bytes:,} to {made.size_bytes:,} bytes (x {ratio:.3g}), {took}"
        )
        for note in answer.get("notes", ()):
            self._bench.log(f"{pass_id}: {note}")


def _size_bytes(model: Path) -> int:
    weights = beside(model, WEIGHTS)
    return model.stat().st_size + (weights.stat().st_size if weights.exists() else 0)
