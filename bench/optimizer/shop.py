"""Applies passes to a model and measures what comes of them, with what a job does it with, but without a mesh."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench.optimizer.kept_passes import KeptOnDisk
from bench.optimizer.real_models import RealModel
from servemesh.optimizer.adapters.child_process import ChildProcesses, ChildSettings
from servemesh.optimizer.adapters.library_versions import library_versions
from servemesh.optimizer.domain.passes.catalogue import PASSES
from servemesh.optimizer.domain.work import WorkLimits
from servemesh.optimizer.service.model_files import WEIGHTS, beside, digest_of
from servemesh.optimizer.service.workshop import Bench, Made, Workshop

THREADS, MEMORY_BYTES, TIME_S = 2, 12 * 1024**3, 3_600.0
# What pip needs of this machine's own configuration.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name.startswith("PIP_") or name == "HOME"}


class Shop:
    """One model on the bench."""

    def __init__(self, bench: Bench, original: Made, children: ChildProcesses, cache: KeptOnDisk) -> None:
        self.bench = bench
        self.original = original
        self.children = children
        self.workshop = Workshop(
            bench,
            original,
            original,
            children=children,
            cache=cache,
            passes=PASSES,
            libraries=library_versions,
            monotonic=time.monotonic,
        )


@asynccontextmanager
async def children() -> AsyncIterator[ChildProcesses]:
    """Offer child processes, as the optimizer has them."""
    async with ChildProcesses.running(ChildSettings(environment=ENVIRONMENT)) as running:
        yield running


@asynccontextmanager
async def shop(
    model: RealModel, running: ChildProcesses, cache: KeptOnDisk, log: Callable[[str], None]
) -> AsyncIterator[Shop]:
    """Give a folder with the model and its rows, and what works on them."""
    with TemporaryDirectory(prefix="shop-") as temporary:
        folder = Path(temporary)
        copied(model.path, folder / "source" / "model.onnx")
        (folder / "data").symlink_to(model.data)
        entry = folder / "source" / "model.onnx"
        bench = Bench(
            folder=folder,
            data="data",
            data_digest=data_digest(model.data),
            memory_bytes=MEMORY_BYTES,
            threads=THREADS,
            until_s=time.monotonic() + TIME_S,
            machine="",
            log=log,
        )
        facts = await described(running, bench)
        original = Made(
            path="source/model.onnx", sha256=digest_of(entry), size_bytes=int(facts["size_bytes"])
        )
        yield Shop(bench.on_machine(facts["instructions"]), original, running, cache)


async def described(running: ChildProcesses, bench: Bench) -> Mapping[str, Any]:
    """Return what the model and the machine are."""
    limits = WorkLimits(time_s=600.0, memory_bytes=MEMORY_BYTES, threads=THREADS)
    arguments = {"model": "source/model.onnx", "data": bench.data}
    return await running.run("describe", arguments, bench.folder, limits, untold, bench.log)


def copied(model: Path, target: Path) -> None:
    """Copy a model with the weights that lie beside it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(model, target)
    if beside(model, WEIGHTS).exists():
        shutil.copyfile(beside(model, WEIGHTS), beside(target, WEIGHTS))


def data_digest(folder: Path) -> str:
    """Return what tells rows apart: sizes and times, because reading hundreds of megabytes again tells no more."""
    files = sorted(folder.iterdir())
    return " ".join(f"{file.name} {file.stat().st_size} {file.stat().st_mtime_ns}" for file in files)


def untold(share: float, step: str) -> None:
    """Nobody watches the progress of a bench."""
