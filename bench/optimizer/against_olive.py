"""`auto` against Olive on MiniLM: the same model, rows, time and machine; then both results side by side in one run."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from bench import machine
from bench.optimizer import passes
from bench.optimizer.kept_passes import KeptOnDisk
from bench.optimizer.real_models import MODELS, RealModel
from bench.optimizer.shop import MEMORY_BYTES, THREADS, children, copied, data_digest, shop, untold
from bench.optimizer.tried import words
from bench.peers.environments import Environment
from servemesh.optimizer.adapters.child_process import ChildProcesses
from servemesh.optimizer.adapters.datasets.rows import Rows, Split
from servemesh.optimizer.adapters.library_versions import library_versions
from servemesh.optimizer.domain.passes.catalogue import PASSES
from servemesh.optimizer.domain.results import JobResult, OptimizationResult
from servemesh.optimizer.domain.specs import Gate, JobLimits, MeasurementPlan, OptimizationSpec
from servemesh.optimizer.service.bench_measuring import measure
from servemesh.optimizer.service.model_files import digest_of
from servemesh.optimizer.service.optimizing import Optimizing, Tools
from servemesh.optimizer.service.ports import FetchedVersion, RunningJob
from servemesh.optimizer.service.workshop import Made

BUDGET_S = 300.0
LOSS_MAX = 0.01
PACKAGES = (
    "olive-ai==0.13.0",
    "onnxruntime==1.31.1",
    "torch==2.13.0",
    "transformers",
    "onnx",
    "requests",
    "pydantic==2.11.10",
)
SEARCH = Path(__file__).with_name("olive_search.py")
KEPT = Path(".cache/optimizer/olive").absolute()
GATE = Gate(metric_loss_max=LOSS_MAX)
PLAN = MeasurementPlan(metric="cosine", batch_sizes=(1, 8), rounds=15, threads=1)
# Its searches are told to nobody.
QUIET = {"OLIVE_DISABLE_TELEMETRY": "1", "CI": "1", "HOME": str(KEPT)}
ROWS_MAX, OLIVE_BATCH = 100_000, 8


async def measured(budget_s: float = BUDGET_S, *, search: bool = True) -> dict[str, Any]:
    """Search with both, unless what both found the last time is to be measured again, and compare."""
    model = MODELS["minilm"]()
    environment = Environment("olive", PACKAGES).made()
    async with children() as running:
        if search or not (KEPT / "auto" / "found.json").exists():
            olive_searched(environment, model, budget_s)
            await auto_searched(running, model, budget_s)
        return {
            "machine": machine.shape(),
            "day": time.strftime("%Y-%m-%d"),
            "budget_s": budget_s,
            "versions": environment.versions("olive-ai", "onnxruntime"),
            "olive": passes.read(KEPT / "olive" / "found.json"),
            "auto": passes.read(KEPT / "auto" / "found.json"),
            "beside": await beside(running, model),
        }


def olive_searched(environment: Environment, model: RealModel, budget_s: float) -> None:
    """Have Olive search in its environment."""
    folder = KEPT / "olive"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    copied(model.path, folder / "model.onnx")
    rows = Rows.open(model.data)
    for split in (Split.CALIBRATE, Split.EVALUATE):
        batch = next(rows.batches(split, ROWS_MAX))
        # Whole batches: Olive cannot calibrate on a last one that is shorter.
        count = rows.count(split) // OLIVE_BATCH * OLIVE_BATCH
        np.savez(folder / f"{split.value}.npz", **{name: each[:count] for name, each in batch.inputs.items()})
    command = [str(environment.python), str(SEARCH), str(folder), str(budget_s)]
    with (folder / "log").open("w") as log:
        subprocess.run(command, env=QUIET, stdout=log, stderr=subprocess.STDOUT, check=True, cwd=folder)


async def auto_searched(running: ChildProcesses, model: RealModel, budget_s: float) -> None:
    """Search as a job with the recipe `auto` does, with nothing known from before."""
    folder = KEPT / "auto"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    tools = Tools(
        versions=OneVersion(model, folder),
        datasets=OneDataset(model),
        children=running,
        cache=KeptOnDisk(folder / "passes"),
        passes=PASSES,
        recipes={},
        libraries=library_versions,
        monotonic=time.monotonic,
    )
    spec = OptimizationSpec(
        source_version="models/minilm/versions/1",
        recipe="auto",
        dataset="datasets/minilm",
        gate=GATE,
        measurement=PLAN,
        limits=JobLimits(time_s=budget_s, memory_bytes=MEMORY_BYTES, threads=THREADS),
    )
    began_s = time.monotonic()
    with TemporaryDirectory(prefix="auto-") as temporary:
        job = RunningJob(
            name="optimizations/bench", epoch=1, folder=Path(temporary), decided=None, left_s=budget_s
        )
        progress = Told()
        found = await Optimizing(tools).run(job, spec, progress)
    variants = [
        {
            "steps": words(each.steps),
            "accepted": each.accepted,
            "refusals": list(each.refusals),
            "figures": asdict(each),
        }
        for each in found.variants
    ]
    seconds = time.monotonic() - began_s
    passes.write(folder / "found.json", {"seconds": seconds, "variants": variants, "log": progress.lines})


async def beside(running: ChildProcesses, model: RealModel) -> dict[str, Any]:
    """Measure the original, what Olive chose and all that `auto` registered, in turns in one run."""
    registered = sorted((KEPT / "auto" / "versions").glob("*/model.onnx"))
    async with shop(model, running, KeptOnDisk(KEPT / "unused"), print) as at:
        chosen = {"Olive": KEPT / "olive" / "best.onnx"} | {
            f"auto {number}": path for number, path in enumerate(registered, 1)
        }
        made = [_made(at.bench.folder, name.replace(" ", ""), path) for name, path in chosen.items()]
        found = await measure(at.children, at.bench, [at.original, *made], PLAN, time.monotonic, untold)
    reports = {name: asdict(report) for name, report in zip(chosen, found.reports[1:], strict=True)}
    return {"models": reports, "baseline": asdict(found.reports[0]), "ratios": _ratios(reports)}


def _ratios(reports: Mapping[str, Any]) -> dict[str, list[float]]:
    """Return how many times as fast as Olive's each is, by batch size."""
    olive = reports["Olive"]["speeds"]
    return {
        name: [
            theirs["run_ms"]["value"] / ours["run_ms"]["value"]
            for theirs, ours in zip(olive, report["speeds"], strict=True)
        ]
        for name, report in reports.items()
    }


def _made(folder: Path, name: str, path: Path) -> Made:
    copied(path, folder / name / "model.onnx")
    for weights in path.parent.glob("*.data"):
        shutil.copyfile(weights, folder / name / weights.name)
    size_bytes = sum(file.stat().st_size for file in (folder / name).iterdir())
    return Made(path=f"{name}/model.onnx", sha256=digest_of(path), size_bytes=size_bytes)


class OneVersion:
    """Satisfies ports.Versions for one model; what is registered lands in a folder."""

    def __init__(self, model: RealModel, folder: Path) -> None:
        self._model = model
        self._folder = folder
        self._count = 0

    async def resolve(self, name: str) -> str:
        """Nothing here has an alias."""
        return name

    async def fetch(self, version: str, folder: Path) -> FetchedVersion:
        """Copy the model."""
        copied(self._model.path, folder / "model.onnx")
        size_bytes = self._model.path.stat().st_size
        return FetchedVersion(
            name=version,
            entry="model.onnx",
            sha256=digest_of(self._model.path),
            size_bytes=size_bytes,
            labels={},
        )

    async def register(
        self,
        model: str,
        folder: Path,
        *,
        source_versions: Sequence[str],
        labels: Mapping[str, str],
        request_id: str,
    ) -> str:
        """Keep the model, best first."""
        self._count += 1
        copied(folder / "model.onnx", self._folder / "versions" / str(self._count) / "model.onnx")
        return f"{model}/versions/{self._count + 1}"

    async def set_alias(self, alias: str, version: str) -> None:
        """Nobody asks."""


class OneDataset:
    """Satisfies ports.Datasets for the rows of one model."""

    def __init__(self, model: RealModel) -> None:
        self._model = model

    async def fetch(self, dataset: str, folder: Path) -> str:
        """Put the rows where the job wants them."""
        await asyncio.to_thread(folder.symlink_to, self._model.data)
        return data_digest(self._model.data)


class Told:
    """Satisfies ports.JobProgress: prints the log."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def progress(self, share: float, step: str) -> None:
        """The log says enough."""

    def log(self, text: str) -> None:
        """Keep and print a line."""
        self.lines.append(text)
        print(text, flush=True)

    def found(self, result: JobResult) -> None:
        """What is known so far is in the log."""

    async def decide(self, result: JobResult) -> None:
        """Nobody takes the job over."""
        assert isinstance(result, OptimizationResult)
