"""Admission as it really runs: real files, a real child process, real limits."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from servemesh.errors import InvalidError
from servemesh.registry.adapters.admission_process import AdmissionLimits, AdmissionProcess
from servemesh.registry.domain import operators
from servemesh.registry.domain.admission import Admitted
from tests.harness import hostile_files, models

TORCH_NAMED_ONNX = {"model.onnx": hostile_files.torch_checkpoint()}
REFUSED = [
    ({"model.pt": hostile_files.torch_checkpoint()}, "PICKLE_REFUSED"),
    (TORCH_NAMED_ONNX, "PICKLE_REFUSED"),
    ({"model.onnx": hostile_files.PICKLE}, "PICKLE_REFUSED"),
    ({"model.pkl": hostile_files.PICKLE}, "PICKLE_REFUSED"),
    ({"model.keras": hostile_files.keras_archive()}, "UNSUPPORTED_FORMAT"),
    ({"model.h5": b"\x89HDF\r\n\x1a\n" + bytes(100)}, "UNSUPPORTED_FORMAT"),
    ({"model.onnx": b""}, "UNSUPPORTED_FORMAT"),
    ({"model.onnx": b"\xff" * 10_000}, "UNSUPPORTED_FORMAT"),
    ({"model.onnx": models.mlp().SerializeToString()[:-100]}, "MODEL_UNREADABLE"),
    ({"model.onnx": hostile_files.nested(10_000)}, "MODEL_UNREADABLE"),
    ({"model.onnx": hostile_files.with_custom_operator().SerializeToString()}, "CUSTOM_OPERATOR"),
    (
        {"model.onnx": hostile_files.with_external_data("../w.bin").SerializeToString(), "w.bin": bytes(64)},
        "EXTERNAL_DATA_REFUSED",
    ),
    (
        {"model.onnx": hostile_files.with_external_data("/etc/passwd").SerializeToString()},
        "EXTERNAL_DATA_REFUSED",
    ),
    (
        {"model.onnx": hostile_files.with_external_constant("/etc/passwd").SerializeToString()},
        "EXTERNAL_DATA_REFUSED",
    ),
    (
        {"model.onnx": hostile_files.with_external_data("w.bin").SerializeToString()},
        "EXTERNAL_DATA_MISSING",
    ),
    (
        {"model.onnx": hostile_files.with_external_data("w.bin").SerializeToString(), "w.bin": bytes(63)},
        "EXTERNAL_DATA_RANGE",
    ),
    (
        {"a.onnx": models.mlp().SerializeToString(), "b.onnx": models.mlp().SerializeToString()},
        "ENTRY_AMBIGUOUS",
    ),
]


async def examined(folder: Path, files: dict[str, bytes], **limits: int | float) -> Admitted:
    staged = {}
    for index, (path, data) in enumerate(files.items()):
        staged[path] = folder / str(index)
        staged[path].write_bytes(data)
    return await AdmissionProcess(AdmissionLimits(**limits)).examine(staged)


async def test_a_plain_model_is_admitted_with_its_signature(tmp_path):
    admitted = await examined(tmp_path, {"digits.onnx": models.mlp().SerializeToString()})
    assert admitted.entry_path == "digits.onnx"
    assert admitted.warnings == ()
    (given,), (answer,) = admitted.signature.inputs, admitted.signature.outputs
    assert (given.name, given.datatype, given.shape, given.batch_axis) == ("x", "FP32", (-1, 64), 0)
    assert (answer.name, answer.datatype, answer.shape, answer.batch_axis) == ("y", "FP32", (-1, 10), 0)
    assert admitted.signature.batchable


async def test_a_folder_with_external_data_is_admitted_without_reading_the_data(tmp_path):
    model = hostile_files.with_external_data("weights/w.bin").SerializeToString()
    admitted = await examined(tmp_path, {"net/model.onnx": model, "net/weights/w.bin": bytes(64)})
    assert admitted.entry_path == "net/model.onnx"


async def test_the_shape_of_an_output_is_inferred_where_the_model_does_not_say_it(tmp_path):
    model = models.mlp()
    model.graph.output[0].type.tensor_type.ClearField("shape")
    admitted = await examined(tmp_path, {"model.onnx": model.SerializeToString()})
    assert admitted.signature.outputs[0].shape == (-1, 10)
    assert admitted.signature.batchable


@pytest.mark.parametrize(("files", "reason"), REFUSED)
async def test_what_cannot_be_served_is_refused_with_its_reason(tmp_path, files, reason):
    with pytest.raises(InvalidError) as refused:
        await examined(tmp_path, files)
    assert refused.value.reason == reason
    assert str(tmp_path) not in refused.value.message


async def test_a_label_and_probabilities_as_maps_are_refused_with_the_way_out(tmp_path):
    iris = Path(onnxruntime.__file__).parent / "datasets" / "logreg_iris.onnx"
    with pytest.raises(InvalidError, match="zipmap") as refused:
        await examined(tmp_path, {"iris.onnx": iris.read_bytes()})
    assert refused.value.reason == "OUTPUT_NOT_SERVABLE"


@pytest.mark.parametrize("link", [os.symlink, os.link])
async def test_a_link_among_the_staged_files_is_refused(tmp_path, link):
    secret = tmp_path / "secret"
    secret.write_bytes(models.mlp().SerializeToString())
    link(secret, tmp_path / "0")
    with pytest.raises(InvalidError) as refused:
        await AdmissionProcess(AdmissionLimits()).examine({"model.onnx": tmp_path / "0"})
    assert refused.value.reason in ("LINK_REFUSED", "MODEL_CRASHED_READER")


async def test_an_input_that_may_have_any_number_of_dimensions_is_refused(tmp_path):
    model = models.identity()
    model.graph.input[0].type.tensor_type.ClearField("shape")
    with pytest.raises(InvalidError, match="number of its dimensions") as refused:
        await examined(tmp_path, {"model.onnx": model.SerializeToString()})
    assert refused.value.reason == "INPUT_NOT_SERVABLE"


@pytest.mark.parametrize("limits", [{"memory_bytes_max": 16 * 1024**2}, {"timeout_s": 0.001}])
async def test_a_child_that_reaches_a_limit_is_a_refusal_and_nothing_worse(tmp_path, limits):
    with pytest.raises(InvalidError) as refused:
        await examined(tmp_path, {"model.onnx": models.mlp().SerializeToString()}, **limits)
    assert refused.value.reason == "MODEL_CRASHED_READER"


def test_fork_handlers_of_other_libraries_do_not_reach_the_child(tmp_path):
    staged = tmp_path / "0"
    staged.write_bytes(models.mlp().SerializeToString())
    program = f"""
import os, pathlib, uvloop
from servemesh.registry.adapters.admission_process import AdmissionLimits, AdmissionProcess
os.register_at_fork(after_in_child=os.abort)  # as harmful as a handler that starts a thread can be
admission = AdmissionProcess(AdmissionLimits())
print(uvloop.run(admission.examine({{"model.onnx": pathlib.Path({str(staged)!r})}})).entry_path)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("model.onnx\n", "")


async def test_a_caller_who_leaves_takes_the_child_along(tmp_path):
    examining = asyncio.timeout(0.05)
    with pytest.raises(TimeoutError):
        async with examining:
            await examined(tmp_path, {"model.onnx": models.mlp().SerializeToString()})


def test_the_versions_said_to_be_supported_are_those_of_the_installed_runtime():
    newest = operators.OPSET_MAX["ai.onnx"]
    assert opens(ir_version=operators.IR_VERSION_MAX, opset=newest)
    assert not opens(ir_version=operators.IR_VERSION_MAX + 1, opset=newest)
    assert not opens(ir_version=operators.IR_VERSION_MAX, opset=newest + 1)


def opens(*, ir_version: int, opset: int) -> bool:
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])],
        "versions",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (1,))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, (1,))],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir_version)
    try:
        onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    except Exception:  # noqa: BLE001 - the runtime raises types of its own that it does not export
        return False
    return True


def test_every_conformance_model_of_onnx_is_admitted_or_refused_with_a_reason():
    from servemesh.registry.adapters import onnx_reader
    from servemesh.registry.domain import admission

    found = sorted((Path(onnx.__file__).parent / "backend" / "test" / "data").rglob("*.onnx"))
    assert found
    for file in found:
        described = onnx_reader.file_description(file.name, file)
        admission.admit([described], lambda path, file=file: onnx_reader.model_description(path, file))
