"""Models are measured in processes of their own: speed by turns, memory, size, and the metric on the same rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from skl2onnx import to_onnx
from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier

from servemesh.errors import InvalidError, ServemeshError
from servemesh.optimizer.adapters.datasets import examine
from servemesh.optimizer.adapters.datasets.rows import Rows, Split
from servemesh.optimizer.adapters.measuring import measure
from servemesh.optimizer.adapters.measuring.probe_process import ProbeProcess
from tests.harness import models
from tests.harness.reports import MemoryReport

DIGITS = load_digits()
IMAGES = DIGITS.data.astype(np.float32)


def a_forest(trees: int) -> bytes:
    forest = RandomForestClassifier(trees, max_depth=6, random_state=0).fit(IMAGES[:900], DIGITS.target[:900])
    model = to_onnx(forest, IMAGES[:1], options={"zipmap": False}, target_opset=18)
    return model.SerializeToString()


def a_product(width: int, rows: int | str = "rows") -> onnx.ModelProto:
    """`y` is `x` [rows, 8] by `width` columns of weights and back: work grows with `width`."""
    random = np.random.default_rng(0)
    weights = {"w": random.normal(size=(8, width)), "v": random.normal(size=(width, 3))}
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("MatMul", ["h", "v"], ["y"])],
        "product",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (rows, 8))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, (rows, 3))],
        [numpy_helper.from_array(array.astype(np.float32), name) for name, array in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def measured(folder: Path, *paths: str, data: str | None = None, **plan: Any) -> dict[str, Any]:
    arguments = {
        "models": [{"id": str(index), "model": path} for index, path in enumerate(paths)],
        "data": data,
        "plan": {"rounds": 5, **plan},
        "seed": 0,
        "processes": 2,
    }
    result = measure.run(arguments, folder, MemoryReport())
    assert json.loads(json.dumps(result)) == result
    return result


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("digits")
    (folder / "source").mkdir()
    np.savez(folder / "source" / "data.npz", X=DIGITS.data[900:], label=DIGITS.target[900:])
    arguments = {"source": "source", "out": "data", "labels": ["label"]}
    examine.run({**arguments, "split": {"evaluate": 100, "calibrate": 0, "train": 0}}, folder, MemoryReport())
    for name, trees in (("large", 60), ("small", 2)):
        (folder / name).mkdir()
        (folder / name / "model.onnx").write_bytes(a_forest(trees))
    return folder


def test_a_small_forest_is_faster_and_smaller_and_less_right(digits: Path):
    result = measured(digits, "large/model.onnx", "small/model.onnx", data="data", batch_sizes=[1, 32])
    large, small = result["models"]
    assert (result["metric_name"], result["metric_rows"]) == ("accuracy", 897)
    assert result["notes"] == ["Column 'X' is FP64 and is cast to the FP32 of its input."]
    assert result["hardware"]["provider"] == "CPUExecutionProvider"
    assert {"onnxruntime", "numpy", "onnx", "python"} <= result["libraries"].keys()
    assert large["size_bytes"] == (digits / "large" / "model.onnx").stat().st_size > small["size_bytes"]
    assert large["speeds"][0]["speedup"] == {"value": 1, "low": 1, "high": 1}
    at_32 = small["speeds"][1]
    assert at_32["batch_size"] == 32
    assert 1 < at_32["speedup"]["low"] <= at_32["speedup"]["value"] <= at_32["speedup"]["high"]
    assert 0 < small["cold_load_s"]["value"] < 30
    assert large["memory_bytes"] > 0
    rows = Rows.open(digits / "data")
    right = 0
    for batch in rows.batches(Split.EVALUATE, 897):
        forest = RandomForestClassifier(60, max_depth=6, random_state=0).fit(
            IMAGES[:900], DIGITS.target[:900]
        )
        right = int((forest.predict(batch.inputs["X"].astype(np.float32)) == batch.labels["label"]).sum())
    assert large["metric"]["value"] == pytest.approx(right / 897, abs=0.003)
    loss = small["metric_loss"]
    assert loss["value"] == pytest.approx(large["metric"]["value"] - small["metric"]["value"])
    assert 0 < loss["low"] < loss["value"] < loss["high"]


def test_without_data_models_are_held_against_the_first(tmp_path: Path):
    for name, width in (("a", 64), ("b", 65)):
        models.saved(a_product(width), tmp_path / name)
    result = measured(tmp_path, "a/model.onnx", "a/model.onnx", "b/model.onnx")
    first, same, other = result["models"]
    assert (result["metric_name"], result["metric_rows"]) == ("agreement", 64)
    assert first["metric"]["value"] == same["metric"]["value"] == 1 > other["metric"]["value"]
    assert [speed["batch_size"] for speed in first["speeds"]] == [1, 8]


def test_a_fixed_batch_is_honoured_and_its_last_rows_too(tmp_path: Path):
    models.saved(a_product(16, rows=4), tmp_path / "fixed")
    (tmp_path / "source").mkdir()
    np.savez(tmp_path / "source" / "data.npz", x=np.ones((30, 8), np.float32))
    examine.run({"source": "source", "out": "data", "labels": []}, tmp_path, MemoryReport())
    result = measured(tmp_path, "fixed/model.onnx", data="data", metric="cosine")
    assert [speed["batch_size"] for speed in result["models"][0]["speeds"]] == [4]
    assert result["metric_rows"] == 6
    assert result["models"][0]["metric"]["value"] == pytest.approx(1)


def test_text_goes_in_and_comes_out(tmp_path: Path):
    models.saved(models.identity("BYTES", ("rows", 1)), tmp_path / "text")
    (tmp_path / "source").mkdir()
    texts = np.array(["to be or not", "to be"] * 10)
    np.savez(tmp_path / "source" / "data.npz", x=texts, said=np.char.add(texts, " word"))
    examine.run({"source": "source", "out": "data", "labels": ["said"]}, tmp_path, MemoryReport())
    result = measured(tmp_path, "text/model.onnx", data="data", metric="wer", batch_sizes=[1])
    assert 1 / 5 <= result["models"][0]["metric"]["value"] <= 1 / 3


@pytest.mark.parametrize(
    ("plan", "reason"),
    [
        ({"metric": "accuracy"}, "METRIC_NEEDS_LABELS"),
        ({"metric": "bleu"}, "METRIC_UNKNOWN"),
        ({"output": "z", "batch_sizes": [1]}, "OUTPUT_MISSING"),
    ],
)
def test_a_plan_that_cannot_be_followed_is_refused(plan: dict[str, Any], reason: str, tmp_path: Path):
    models.saved(a_product(4), tmp_path / "a")
    with pytest.raises(InvalidError) as refusal:
        measured(tmp_path, "a/model.onnx", **plan)
    assert refusal.value.reason == reason


def test_rows_that_do_not_fit_and_files_that_are_no_model_are_named(digits: Path, tmp_path: Path):
    models.saved(a_product(4), tmp_path / "a")
    (tmp_path / "data").symlink_to(digits / "data")
    with pytest.raises(InvalidError, match="input 'x' of the model has no column of its name"):
        measured(tmp_path, "a/model.onnx", data="data")
    (tmp_path / "a" / "model.onnx").write_bytes(b"no model")
    with pytest.raises(ServemeshError) as refusal:
        measured(tmp_path, "a/model.onnx", data="data")
    assert refusal.value.reason == "MODEL_REFUSED"


def test_a_runtime_that_dies_is_told_of_the_model(tmp_path: Path):
    with ProbeProcess("a", tmp_path) as process, pytest.raises(ServemeshError) as failure:
        process.ask("fly")
    assert (failure.value.reason, failure.value.metadata["field"]) == ("MODEL_CRASHED", "a")
