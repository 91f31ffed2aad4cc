"""What pruning and distilling do to a digits CNN, over five seeds: `python -m bench.optimizer.training`."""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from bench import machine
from servemesh.optimizer.adapters.datasets.rows import Rows
from servemesh.optimizer.adapters.passes import distil, prune_structured
from servemesh.optimizer.domain.passes.training import DistilParameters, PruneStructuredParameters
from tests.harness.training import a_context, a_digits_dataset, accuracy, digits, trained_cnn

SEEDS = (0, 1, 2, 3, 4)
ROUNDS, BATCHES = 41, (1, 32)
EPOCHS = 60
LOSS_MAX, SPEEDUP_LEAST = 0.02, 1.5
SIZE_MAX, KEPT_LEAST = 0.15, 0.97


def main() -> None:
    """Print the figures and write them as JSON; end with 1 if one misses its goal."""
    parser = argparse.ArgumentParser(prog="bench.optimizer.training", description=__doc__)
    parser.add_argument("--json", type=Path, default=Path(".cache/optimizer/training.json"))
    parser.add_argument("--seeds", type=int, default=len(SEEDS))
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        figures = measured(Path(folder), SEEDS[: asked.seeds])
    asked.json.parent.mkdir(parents=True, exist_ok=True)
    asked.json.write_text(json.dumps(figures, indent=1))
    print(json.dumps(figures, indent=1))
    raise SystemExit(0 if all(figures["reached"].values()) else 1)


def measured(folder: Path, seeds: tuple[int, ...]) -> dict[str, Any]:
    """Return the figures of both proofs, and which goals they reach."""
    rows = a_digits_dataset(folder / "data")
    teacher = trained_cnn(folder / "teacher.onnx", width=48, epochs=15)
    teacher_accuracy = accuracy(teacher, rows, "digit")
    pruning = pruned(folder, teacher, rows, seeds)
    students = distilled(folder, teacher, rows, seeds)
    alone = [student["accuracy_alone"] for student in students]
    taught = [student["accuracy"] for student in students]
    return {
        "machine": machine.shape(),
        "teacher": {"accuracy": teacher_accuracy, "size_bytes": teacher.stat().st_size},
        "pruned": pruning,
        "students": students,
        "student_accuracy_mean": statistics.mean(taught),
        "student_alone_accuracy_mean": statistics.mean(alone),
        "reached": {
            "pruned is as fast": min(statistics.median(run["speedups"]["32"]) for run in pruning)
            >= SPEEDUP_LEAST,
            "pruned is as accurate": min(run["accuracy"] for run in pruning) >= teacher_accuracy - LOSS_MAX,
            "student is as small": max(run["size_ratio"] for run in students) <= SIZE_MAX,
            "student keeps the accuracy": statistics.mean(taught) >= KEPT_LEAST * teacher_accuracy,
            "teacher beats labels alone": statistics.mean(taught) > statistics.mean(alone),
        },
    }


def pruned(folder: Path, teacher: Path, rows: Rows, seeds: tuple[int, ...]) -> list[dict[str, Any]]:
    """Remove half of the channels, with recovery, once a seed."""
    runs = []
    for seed in seeds:
        target = folder / f"pruned-{seed}.onnx"
        parameters = PruneStructuredParameters(ratio=0.5, epochs=20)
        prune_structured.apply(teacher, target, parameters, a_context(rows, seed=seed))
        runs.append(
            {
                "seed": seed,
                "accuracy": accuracy(target, rows, "digit"),
                "size_ratio": target.stat().st_size / teacher.stat().st_size,
                "speedups": speedups(teacher, target),
            }
        )
    return runs


def distilled(folder: Path, teacher: Path, rows: Rows, seeds: tuple[int, ...]) -> list[dict[str, Any]]:
    """Teach a narrow student with fresh weights, and the same one on labels alone, once a seed."""
    runs = []
    for seed in seeds:
        found: dict[str, Any] = {"seed": seed}
        # Labels alone have no mixed rows, so they get as many more epochs: the steps are as many.
        for name, soft_share, epochs in (("accuracy", 0.9, EPOCHS), ("accuracy_alone", 0.0, 3 * EPOCHS)):
            target = folder / f"{name}-{seed}.onnx"
            parameters = DistilParameters(
                width_kept=0.08,
                multiple=4,
                weights="fresh",
                epochs=epochs,
                patience=epochs,
                batch_size=64,
                soft_share=soft_share,
                temperature=4.0,
                learning_rate=5e-3,
            )
            distil.apply(teacher, target, parameters, a_context(rows, seed=seed))
            found[name] = accuracy(target, rows, "digit")
            found["size_ratio"] = target.stat().st_size / teacher.stat().st_size
        runs.append(found)
    return runs


def speedups(before: Path, after: Path) -> Mapping[str, list[float]]:
    """Return the time of the one ÷ the time of the other, by batch size, one figure a round in which both ran."""
    sessions = [_session(path) for path in (before, after)]
    images, _ = digits()
    found: dict[str, list[float]] = {}
    for size in BATCHES:
        batch = np.ascontiguousarray(images[:size])
        for session in sessions:
            _run_s(session, batch)
        found[str(size)] = [
            _run_s(sessions[0], batch) / _run_s(sessions[1], batch) for _round in range(ROUNDS)
        ]
    return found


def _session(path: Path) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def _run_s(session: ort.InferenceSession, batch: Any, times: int = 10) -> float:
    began = time.perf_counter()
    for _time in range(times):
        session.run(None, {"image": batch})
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
