"""What pruning and distilling do to a digits CNN, over five seeds: `python -m bench.optimizer training`."""

from __future__ import annotations

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


def measured(seeds: tuple[int, ...] = SEEDS) -> dict[str, Any]:
    """Return the figures of both proofs."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        rows = a_digits_dataset(folder / "data")
        teacher = trained_cnn(folder / "teacher.onnx", width=48, epochs=15)
        return {
            "machine": machine.shape(),
            "day": time.strftime("%Y-%m-%d"),
            "teacher": {"accuracy": accuracy(teacher, rows, "digit"), "size_bytes": teacher.stat().st_size},
            "pruned": pruned(folder, teacher, rows, seeds),
            "students": distilled(folder, teacher, rows, seeds),
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
