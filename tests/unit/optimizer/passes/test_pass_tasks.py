"""Passes and sensitivity as the tasks of a child process: folders in, JSON out."""

from __future__ import annotations

import json
import shutil
from contextlib import chdir
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import numpy_helper

from servemesh.errors import InvalidError
from servemesh.optimizer.adapters.passes import apply, models, sensitivity
from tests.harness.passes import digits_cnn, digits_mlp, table_dataset
from tests.harness.reports import MemoryReport


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A work folder with a model and rows in it."""
    folder = tmp_path_factory.mktemp("work")
    digits_cnn(folder / "in" / "model.onnx")
    table_dataset(folder / "data", "digits", (1, 8, 8))
    return folder


def arguments(folder: Path, pass_id: str, **parameters: Any) -> dict[str, Any]:
    shutil.rmtree(folder / "out", ignore_errors=True)
    return {
        "pass": pass_id,
        "parameters": parameters,
        "model": "in/model.onnx",
        "out": "out/model.onnx",
        "data": "data",
        "seed": 0,
        "threads": 1,
        "teacher": None,
    }


def test_a_pass_gives_notes_and_library_versions_and_tells_how_far_it_is(folder: Path):
    report = MemoryReport()
    result = apply.run(arguments(folder, "int8_static"), folder, report)
    assert json.loads(json.dumps(result)) == result
    assert result["notes"]
    assert set(result["libraries"]) == {"numpy", "onnx", "onnxruntime"}
    assert (folder / "out" / "model.onnx").exists()
    assert not (folder / "out.draft").exists()
    assert report.shares == sorted(report.shares)


def test_libraries_leave_nothing_where_the_process_runs(folder: Path, tmp_path: Path):
    with chdir(tmp_path):
        apply.run(arguments(folder, "int8_static"), folder, MemoryReport())
    assert list(tmp_path.iterdir()) == []


def test_a_pass_that_fails_leaves_nothing_where_the_result_would_be(folder: Path):
    with pytest.raises(InvalidError):
        apply.run(arguments(folder, "prune_trees"), folder, MemoryReport())
    assert not (folder / "out").exists()


def test_a_broken_draft_of_an_earlier_run_is_in_nobody_s_way(folder: Path):
    (folder / "out.draft").mkdir(exist_ok=True)
    (folder / "out.draft" / "model.onnx").write_bytes(b"half a model")
    apply.run(arguments(folder, "fp16"), folder, MemoryReport())
    assert [file.name for file in (folder / "out").iterdir()] == ["model.onnx"]


def test_sensitivity_ranks_every_layer_and_finds_the_one_that_int8_hurts(folder: Path, tmp_path: Path):
    model = onnx.load(digits_mlp(tmp_path / "in" / "model.onnx"))
    first = next(tensor for tensor in model.graph.initializer if tensor.name == "first")
    values = numpy_helper.to_array(first).copy()
    values[0] *= 1000.0  # of the feature that is always zero: only the scale of int8 sees it
    models.set_values(first, values)
    (tmp_path / "in" / "model.onnx").write_bytes(model.SerializeToString())
    table_dataset(tmp_path / "data", "digits")
    request = {"model": "in/model.onnx", "data": "data", "seed": 0, "threads": 1}
    found = sensitivity.run(request, tmp_path, MemoryReport())["nodes"]
    assert [node["name"] for node in found] == ["first", "last"]
    assert found[0]["sqnr_db"] < found[1]["sqnr_db"] - 10
    assert {node["op"] for node in found} == {"Gemm"}


def test_sensitivity_of_convolutions_is_of_all_of_them(folder: Path):
    request = {"model": "in/model.onnx", "data": "data", "seed": 0, "threads": 1}
    found = sensitivity.run(request, folder, MemoryReport())["nodes"]
    assert {node["name"] for node in found} == {"conv1", "conv2", "last"}
    assert all(10 < node["sqnr_db"] < 80 for node in found)
    assert [node["sqnr_db"] for node in found] == sorted(node["sqnr_db"] for node in found)
