"""What the use cases of the optimizer need, in memory: models are texts that say which passes made them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from servemesh.errors import ConflictError, MissingError, ServemeshError
from servemesh.optimizer.adapters.recipe_files import load_recipes
from servemesh.optimizer.domain.passes.catalogue import PASSES
from servemesh.optimizer.domain.results import JobResult
from servemesh.optimizer.domain.work import WorkLimits
from servemesh.optimizer.service.model_files import digest_of
from servemesh.optimizer.service.optimizing import Tools
from servemesh.optimizer.service.ports import FetchedVersion, OnLog, OnProgress, RunningJob

SIZE_BYTES = 10_000
Effects = Mapping[str, tuple[float, float, float]]  # speed, size and loss by pass


class ScriptedChildren:
    """Passes write their name into the model; a measurement reads the names and says what `effects` say.

    `errors` has what a task or pass raises; each task takes `task_s` of the clock.
    """

    def __init__(self, effects: Effects, operators: Mapping[str, int] | None = None) -> None:
        self.effects = effects
        self.operators = operators or {"Conv": 4, "Gemm": 1}
        self.errors: dict[str, ServemeshError] = {}
        self.ran: list[str] = []
        self.now_s = 0.0
        self.task_s = 1.0

    def monotonic(self) -> float:
        return self.now_s

    async def run(
        self,
        task: str,
        arguments: Mapping[str, Any],
        folder: Path,
        limits: WorkLimits,
        on_progress: OnProgress,
        on_log: OnLog,
    ) -> dict[str, Any]:
        subject = arguments["pass"] if task == "pass" else task
        self.ran.append(subject)
        self.now_s += self.task_s
        assert limits.time_s > 0
        if subject in self.errors:
            raise self.errors[subject]
        on_progress(0.5, subject)
        if task == "describe":
            return self._described(arguments)
        if task == "sensitivity":
            return {
                "nodes": [{"name": f"layer{number}", "op": "MatMul", "sqnr_db": 9.0} for number in range(5)]
            }
        return self._passed(arguments, folder) if task == "pass" else self._measured(arguments, folder)

    def _described(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        rows = {"calibrate": 100, "train": 1000, "evaluate": 300} if arguments["data"] else {}
        return {
            "operators": self.operators,
            "size_bytes": SIZE_BYTES,
            "rows": rows,
            "instructions": ["avx512_vnni"],
            "accelerators": [],
        }

    def _passed(self, arguments: Mapping[str, Any], folder: Path) -> dict[str, Any]:
        made = [*steps_in(folder / arguments["model"]), arguments["pass"]]
        target = folder / arguments["out"]
        assert not target.parent.exists()
        target.parent.mkdir(parents=True)
        size = SIZE_BYTES
        for name in made:
            size = int(size * self.effects.get(name, (1, 1, 0))[1])
        target.write_bytes(model_bytes(made, size))
        return {"notes": [f"{arguments['pass']} was here"], "libraries": {"onnx": "1.0"}}

    def _measured(self, arguments: Mapping[str, Any], folder: Path) -> dict[str, Any]:
        models = []
        for model in arguments["models"]:
            path = folder / model["model"]
            effects = [self.effects.get(name, (1.0, 1.0, 0.0)) for name in steps_in(path)]
            speed, loss = 1.0, 0.0
            for each in effects:
                speed, loss = speed * each[0], loss + each[2]
            models.append(
                {
                    "id": model["id"],
                    "size_bytes": path.stat().st_size,
                    "sparsity": 0.0,
                    "metric": _interval(0.95 - loss),
                    "metric_loss": _interval(loss, 0.001 if effects else 0.0),
                    "speeds": [
                        {"batch_size": 1, "run_ms": _interval(1 / speed), "speedup": _interval(speed, 0.01)}
                    ],
                    "cold_load_s": _interval(0.01),
                    "memory_bytes": 1_000_000,
                }
            )
        return {
            "hardware": {
                "processor": "a processor",
                "processor_count": 2,
                "memory_bytes": 8,
                "provider": "CPU",
            },
            "libraries": {"onnxruntime": "1.0"},
            "metric_name": "accuracy",
            "metric_rows": 300,
            "notes": ["measured accuracy"],
            "models": models,
        }


class MemoryVersions:
    """A registry that knows `models/m/versions/1`."""

    def __init__(self) -> None:
        self.registered: dict[str, tuple[str, dict[str, str], Sequence[str]]] = {}
        self.by_request: dict[str, str] = {}
        self.aliases: dict[str, str] = {}

    async def resolve(self, name: str) -> str:
        return self.aliases.get(name, name)

    async def fetch(self, version: str, folder: Path) -> FetchedVersion:
        _write(folder / "model.onnx", model_bytes([], SIZE_BYTES))
        return FetchedVersion(
            name=version, entry="model.onnx", sha256="original", size_bytes=SIZE_BYTES, labels={}
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
        if request_id not in self.by_request:
            name = f"{model}/versions/{len(self.registered) + 2}"
            passes = " ".join(steps_in(folder / "model.onnx"))
            self.registered[name] = (passes, dict(labels), source_versions)
            self.by_request[request_id] = name
        return self.by_request[request_id]

    async def set_alias(self, alias: str, version: str) -> None:
        self.aliases[alias] = version


class MemoryDatasets:
    """A dataset of nothing."""

    async def fetch(self, dataset: str, folder: Path) -> str:
        return f"digest of {dataset}"


class MemoryPasses:
    """A pass cache."""

    def __init__(self) -> None:
        self.kept: dict[str, tuple[bytes, dict[str, Any]]] = {}
        self.models: dict[str, bytes] = {}

    async def get(self, key: str, target: Path) -> dict[str, Any] | None:
        if key not in self.kept:
            return None
        _write(target, self.kept[key][0])
        return self.kept[key][1]

    async def put(self, key: str, source: Path, answer: Mapping[str, Any]) -> str:
        sha256, model = digest_of(source), _read(source)
        self.kept[key], self.models[sha256] = (model, dict(answer)), model
        return sha256

    async def fetch(self, sha256: str, target: Path) -> None:
        if sha256 not in self.models:
            raise MissingError(f"{sha256} is not kept", reason="PASS_LOST")
        _write(target, self.models[sha256])


class KeptProgress:
    """Keeps what a job tells. `is_cancelled`: somebody asked for that before anything was decided."""

    def __init__(self, *, is_cancelled: bool = False) -> None:
        self.shares: list[float] = []
        self.lines: list[str] = []
        self.results: list[JobResult] = []
        self.decided: list[JobResult] = []
        self.is_cancelled = is_cancelled

    def progress(self, share: float, step: str) -> None:
        self.shares.append(share)

    def log(self, text: str) -> None:
        self.lines.append(text)

    def found(self, result: JobResult) -> None:
        self.results.append(result)

    async def decide(self, result: JobResult) -> None:
        if self.is_cancelled:
            raise ConflictError("it is being cancelled", reason="JOB_CANCELLED")
        self.decided.append(result)


def some_tools(
    children: ScriptedChildren, versions: MemoryVersions | None = None, cache: MemoryPasses | None = None
) -> Tools:
    """Return the tools of a job, all in memory, with the shipped recipes."""
    return Tools(
        versions=versions or MemoryVersions(),
        datasets=MemoryDatasets(),
        children=children,
        cache=cache or MemoryPasses(),
        passes=PASSES,
        recipes=load_recipes(None, PASSES),
        libraries=lambda names: dict.fromkeys(names, "1.0"),
        monotonic=children.monotonic,
    )


def a_running_job(folder: Path, **changes: Any) -> RunningJob:
    """Return a job in a fresh folder."""
    folder.mkdir(parents=True)
    given = {"name": "optimizations/j1", "epoch": 1, "folder": folder, "decided": None, "left_s": 600.0}
    return RunningJob(**{**given, **changes})


def model_bytes(steps: Sequence[str], size_bytes: int) -> bytes:
    """Return a model that says what made it, of about that size."""
    return (json.dumps(list(steps)) + "\n").encode().ljust(max(size_bytes, 1), b".")


def steps_in(path: Path) -> list[str]:
    """Return which passes made the model."""
    found: list[str] = json.loads(path.read_bytes().partition(b"\n")[0])
    return found


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def _read(path: Path) -> bytes:
    return path.read_bytes()


def _interval(value: float, spread: float = 0.0) -> dict[str, float]:
    return {"value": value, "low": value - spread, "high": value + spread}
