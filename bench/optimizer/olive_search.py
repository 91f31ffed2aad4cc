"""Olive's own search, run in Olive's environment: `python olive_search.py FOLDER SECONDS`.

FOLDER has model.onnx, calibrate.npz and evaluate.npz. It leaves best.onnx and tried.json there. Speed and cosine of
each candidate are measured as `auto` measures its own: one thread, batches of 1 and 8, the model before and after in
turns.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

COSINE_LEAST = 0.99
ROUNDS, BATCHES = 5, (1, 8)
Array = Any

FUSE = {"fuse": {"type": "OrtTransformersOptimization", "model_type": "bert"}}
QUANTIZE = {"quantize": {"type": "OnnxQuantization", "data_config": "calibrate"}}  # dynamic and static
# Every pass of Olive's that makes an ONNX transformer faster or smaller on a processor, alone or after fusing.
CHAINS: tuple[dict[str, Any], ...] = (
    FUSE,
    {**FUSE, "half": {"type": "OnnxFloatToFloat16", "keep_io_types": True}},
    {**FUSE, "blocks": {"type": "OnnxBlockWiseRtnQuantization"}},
    {**FUSE, "blocks": {"type": "OnnxKQuantQuantization"}},
    {**FUSE, **QUANTIZE},
    QUANTIZE,
)


def main(folder: Path, budget_s: float) -> None:
    """Search, then copy the fastest of the models that keep the cosine."""
    from olive.workflows import run

    began_s = time.monotonic()
    for number, passes in enumerate(CHAINS):
        left_s = budget_s - (time.monotonic() - began_s)
        if left_s <= 0:
            break
        # The short ones come first; the last two share what they leave.
        share_s = left_s / 2 if number == len(CHAINS) - 2 else left_s
        try:
            run(config(folder, passes, share_s))
        except Exception:  # noqa: BLE001 - whatever ends it, what it found until then stands
            traceback.print_exc()
    tried = read(folder)
    kept = [each for each in tried if each["cosine"] >= COSINE_LEAST]
    best = max(kept, key=lambda each: each["speedup"])
    copied(Path(best["path"]), folder / "best.onnx")
    found = {"seconds": time.monotonic() - began_s, "tried": tried, "best": best}
    (folder / "found.json").write_text(json.dumps(found, indent=1))


def config(folder: Path, passes: dict[str, Any], budget_s: float) -> dict[str, Any]:
    """Return one search: a chain of passes, of which Olive tries the parameters."""
    return {
        "input_model": {"type": "ONNXModel", "model_path": str(folder / "model.onnx")},
        "systems": {
            "local": {
                "type": "LocalSystem",
                "accelerators": [{"device": "cpu", "execution_providers": ["CPUExecutionProvider"]}],
            }
        },
        "data_configs": [
            {
                "name": "calibrate",
                "user_script": str(Path(__file__).resolve()),
                "load_dataset_config": {"type": "calibration_rows", "path": str(folder / "calibrate.npz")},
                "pre_process_data_config": {"type": "skip_pre_process"},
                "post_process_data_config": {"type": "skip_post_process"},
                "dataloader_config": {"type": "default_dataloader", "batch_size": 8},
            }
        ],
        # Metrics of one's own cannot be written down: the first carries time after ÷ before, the second the cosine.
        "evaluators": {
            "ours": {
                "type": "beside",
                "type_args": {"folder": str(folder)},
                "user_script": str(Path(__file__).resolve()),
                "metrics": [
                    {"name": "time", "type": "latency", "sub_types": [{"name": "avg", "priority": 1}]},
                    {
                        "name": "cosine",
                        "type": "accuracy",
                        "sub_types": [
                            {
                                "name": "accuracy_score",
                                "priority": 2,
                                "metric_config": {"task": "multiclass", "num_classes": 10},
                                "goal": {"type": "threshold", "value": COSINE_LEAST},
                            }
                        ],
                    },
                ],
            }
        },
        "passes": passes,
        "search_strategy": {
            "execution_order": "joint",
            "sampler": "tpe",
            "sampler_config": {"max_samples": 200, "seed": 0},
            "max_time": int(budget_s),
        },
        "host": "local",
        "target": "local",
        "evaluator": "ours",
        "cache_dir": str(folder / "cache"),
        "output_dir": str(folder / "out"),
        "log_severity_level": 2,
    }


def evaluated(path: Path, kept: Path) -> dict[str, float]:
    """Measure a candidate beside the original, and note it in tried.json."""
    before, after = session(kept / "model.onnx"), session(path)
    rows = dict(np.load(kept / "evaluate.npz"))
    cosine = float(np.mean(cosines(answers(before, rows), answers(after, rows))))
    few = [{name: array[:size] for name, array in rows.items()} for size in BATCHES]
    found = {
        "cosine": cosine,
        "speedup": float(np.exp(np.mean([np.log(speedup(before, after, some)) for some in few]))),
    }
    size_bytes = sum(file.stat().st_size for file in path.parent.iterdir() if file.is_file())
    tried = [*read(kept), {"path": str(path), "size_bytes": size_bytes, **found}]
    (kept / "tried.json").write_text(json.dumps(tried))
    print("tried", json.dumps(tried[-1]), flush=True)
    return found


def read(folder: Path) -> list[dict[str, Any]]:
    """Return what was tried so far."""
    file = folder / "tried.json"
    return json.loads(file.read_text()) if file.exists() else []


def session(path: Path) -> ort.InferenceSession:
    """Open a model as the worker does: one thread."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def answers(opened: ort.InferenceSession, rows: dict[str, Array]) -> Array:
    """Return the first output, a flat row each."""
    found = [
        opened.run(None, {name: array[begin : begin + 8] for name, array in rows.items()})[0]
        for begin in range(0, len(next(iter(rows.values()))), 8)
    ]
    joined = np.concatenate(found)
    return joined.reshape(len(joined), -1)


def cosines(left: Array, right: Array) -> Array:
    """Return the cosine of each pair of rows."""
    lengths = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
    return np.sum(left * right, axis=1) / np.maximum(lengths, 1e-12)


def speedup(before: ort.InferenceSession, after: ort.InferenceSession, rows: dict[str, Array]) -> float:
    """Return the median of time before ÷ time after over rounds in which both run."""
    ratios = []
    for _ in range(ROUNDS + 1):
        times = []
        for opened in (before, after):
            began_s = time.perf_counter()
            for _run in range(3):
                opened.run(None, rows)
            times.append(time.perf_counter() - began_s)
        ratios.append(times[0] / times[1])
    return float(np.median(ratios[1:]))


def copied(model: Path, target: Path) -> None:
    """Copy a model; its weights, if they lie beside it, keep the name that it knows."""
    for file in model.parent.iterdir():
        if file.is_file() and file != model and ".data" in file.name:
            shutil.copyfile(file, target.parent / file.name)
    shutil.copyfile(model, target)


class Rows:
    """Rows as Olive's loaders want them: inputs by name, and no label."""

    def __init__(self, columns: dict[str, Array]) -> None:
        self._columns = columns

    def __len__(self) -> int:
        return len(next(iter(self._columns.values())))

    def __getitem__(self, number: int) -> tuple[dict[str, Array], int]:
        return {name: array[number] for name, array in self._columns.items()}, 0


def _register() -> None:
    from olive.data.registry import Registry
    from olive.evaluator.metric_result import MetricResult
    from olive.evaluator.olive_evaluator import OliveEvaluator
    from olive.evaluator.registry import Registry as Evaluators

    @Registry.register_dataset()
    def calibration_rows(path: str = "", **_: Any) -> Rows:
        return Rows(dict(np.load(path)))

    @Evaluators.register("beside")
    class Beside(OliveEvaluator):
        def __init__(self, folder: str = "", **_: Any) -> None:
            super().__init__()
            self._folder = Path(folder)

        def evaluate(self, model: Any, *_: Any, **__: Any) -> Any:
            found = evaluated(Path(model.model_path), self._folder)
            return MetricResult.model_validate(
                {
                    "time-avg": {"value": 1 / found["speedup"], "priority": 1, "higher_is_better": False},
                    "cosine-accuracy_score": {
                        "value": found["cosine"],
                        "priority": 2,
                        "higher_is_better": True,
                    },
                }
            )


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve(), float(sys.argv[2]))
else:
    _register()  # Olive imports this file to find what a config names
