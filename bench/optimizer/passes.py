"""Runs every pass that does not train on real models: `python -m bench.optimizer.passes [--models NAME…]`.

Models and rows are made or fetched once and kept in `.cache/optimizer/models`. Speed is that of one thread, the model
before and after alternating in one run; agreement is with the model before, on rows that no pass saw.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from bench import machine
from bench.optimizer.real_models import MODELS, RealModel
from servemesh.errors import ServemeshError
from servemesh.optimizer.adapters.datasets.rows import Rows, Split
from servemesh.optimizer.adapters.passes.apply import apply_pass
from servemesh.optimizer.adapters.passes.context import PassContext
from servemesh.optimizer.domain.passes.catalogue import PASSES
from servemesh.optimizer.domain.passes.parameters import parse_parameters
from tests.harness.reports import MemoryReport

Array = np.ndarray[Any, Any]
ROUNDS, ROWS = 15, 64
TRIED: tuple[tuple[str, dict[str, Any]], ...] = (
    ("simplify", {}),
    ("fuse", {}),
    ("fp16", {}),
    ("fp16", {"compute": "float32"}),
    ("bf16", {}),
    ("int8_dynamic", {}),
    ("int8_static", {}),
    ("int8_static", {"calibration": "percentile"}),
    ("int8_static", {"sensitive_excluded": 4}),
    ("weight_only", {"bits": 8}),
    ("weight_only", {"bits": 4}),
    ("prune_magnitude", {"sparsity": 0.3}),
    ("compact_trees", {}),
    ("prune_trees", {"tree_ratio": 0.5}),
    ("prune_trees", {"tree_ratio": 0.25, "node_ratio": 0.5}),
    ("reduce_svm", {"vector_ratio": 0.5}),
    ("reduce_svm", {"vector_ratio": 0.25, "method": "kmeans"}),
)
HEADER = (
    "| pass | size | speed, 1 row | speed, 8 rows | same arg-max | cosine | right | seconds |\n"
    "|---|---|---|---|---|---|---|---|"
)


def main() -> None:
    """Print a table per model, and write the figures as JSON."""
    parser = argparse.ArgumentParser(prog="bench.optimizer.passes", description=__doc__)
    parser.add_argument("--models", nargs="*", default=sorted(MODELS))
    parser.add_argument("--passes", nargs="*", default=sorted({name for name, _ in TRIED}))
    parser.add_argument("--json", type=Path, default=Path(".cache/optimizer/passes.json"))
    asked = parser.parse_args()
    figures: dict[str, Any] = {"machine": machine.shape()}
    for name in asked.models:
        print(f"\n### {name}\n\n{HEADER}", flush=True)
        model = MODELS[name]()
        figures[name] = [_measured(model, *tried) for tried in TRIED if tried[0] in asked.passes]
    asked.json.parent.mkdir(parents=True, exist_ok=True)
    asked.json.write_text(json.dumps(figures, indent=1))


def _measured(model: RealModel, pass_id: str, values: dict[str, Any]) -> dict[str, Any]:
    spec = PASSES[pass_id]
    rows = Rows.open(model.data)
    context = PassContext(data=rows, teacher=None, seed=0, threads=2, report=MemoryReport())
    label = ", ".join([pass_id, *(f"{key} {value}" for key, value in values.items())])
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "out" / "model.onnx"
        began_s = time.perf_counter()
        try:
            notes = apply_pass(spec, model.path, target, parse_parameters(spec, values), context)
        except ServemeshError as error:
            print(f"| {label} | {error.reason}: {error.message} |", flush=True)
            return {"pass": pass_id, "values": values, "reason": error.reason, "message": error.message}
        pass_s = time.perf_counter() - began_s
        figures = _figures(model, rows, target)
    print(
        f"| {label} | {figures['size']:.3f} | {figures['speed_1']:.2f} | {figures['speed_8']:.2f} "
        f"| {figures['same']:.3f} | {figures['cosine']:.4f} | {figures['right']} | {pass_s:.1f} |",
        flush=True,
    )
    return {"pass": pass_id, "values": values, "notes": notes, "seconds": pass_s, **figures}


def _figures(model: RealModel, rows: Rows, target: Path) -> dict[str, Any]:
    before, after = _session(model.path), _session(target)
    batch = next(rows.batches(Split.EVALUATE, ROWS))
    inputs = dict(batch.inputs)
    old, new = _scores(before, inputs), _scores(after, inputs)
    products = np.sum(old * new, axis=-1) / (
        np.linalg.norm(old, axis=-1) * np.linalg.norm(new, axis=-1) + 1e-12
    )
    right = None
    if batch.labels:
        wanted = next(iter(batch.labels.values()))
        right = [round(float((scores.argmax(-1) == wanted).mean()), 4) for scores in (old, new)]
    return {
        "size": _size(target) / _size(model.path),
        "same": float((old.argmax(-1) == new.argmax(-1)).mean()),
        "cosine": float(products.mean()),
        "right": right,
        "speed_1": _speed(before, after, inputs, 1),
        "speed_8": _speed(before, after, inputs, 8),
    }


def _session(path: Path) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def _scores(session: ort.InferenceSession, inputs: dict[str, Array]) -> Array:
    """Return the last output, which of a classifier are the scores, a row each."""
    outputs = session.run(None, inputs)
    scores = np.asarray(outputs[-1], np.float64)
    return scores.reshape(len(scores), -1) if scores.ndim < 3 else scores


def _speed(
    before: ort.InferenceSession, after: ort.InferenceSession, inputs: dict[str, Array], count: int
) -> float:
    """Return time before ÷ time after: medians of rounds that alternate."""
    few = {name: array[:count] for name, array in inputs.items()}
    times: list[list[float]] = [[], []]
    runs = max(1, round(0.02 / max(_time_s(before, few, 1), 1e-6)))
    for _ in range(ROUNDS):
        for place, session in enumerate((before, after)):
            times[place].append(_time_s(session, few, runs))
    return float(np.median(times[0]) / np.median(times[1]))


def _time_s(session: ort.InferenceSession, inputs: dict[str, Array], runs: int) -> float:
    session.run(None, inputs)
    began_s = time.perf_counter()
    for _ in range(runs):
        session.run(None, inputs)
    return (time.perf_counter() - began_s) / runs


def _size(path: Path) -> int:
    return sum(file.stat().st_size for file in path.parent.glob("model.onnx*"))


if __name__ == "__main__":
    main()
