"""Which file is the model, what it may need, and where its tensors may lie."""

from __future__ import annotations

from dataclasses import replace

import pytest

from servemesh.errors import InvalidError
from servemesh.formats import ForeignFormat
from servemesh.registry.domain import external_data, operators
from servemesh.registry.domain.admission import entry_of
from servemesh.registry.domain.onnx_models import ExternalTensor, FileDescription, ModelDescription

PICKLE = ForeignFormat(title="a Python pickle", advice="convert it", pickled=True)
WEIGHTS = ForeignFormat(title="a safetensors file", advice="export it")


def a_file(path: str, **changes: object) -> FileDescription:
    return replace(FileDescription(path=path, size_bytes=100), **changes)


def an_onnx(path: str) -> FileDescription:
    return a_file(path, is_onnx=True)


def a_tensor(**changes: object) -> ExternalTensor:
    tensor = ExternalTensor(
        name="w", location="weights.bin", offset="16", length="64", unknown_keys=(), needed_bytes=64
    )
    return replace(tensor, **changes)


def a_model(**changes: object) -> ModelDescription:
    model = ModelDescription(
        ir_version=8,
        opsets={"ai.onnx": 17},
        inputs=(),
        outputs=(),
        defaulted=(),
        external=(),
        operators={"ai.onnx": "Add"},
    )
    return replace(model, **changes)


@pytest.mark.parametrize(
    ("files", "entry"),
    [
        ([an_onnx("net.bin")], "net.bin"),
        ([an_onnx("a/model.onnx"), an_onnx("a/encoder.onnx"), a_file("README.md")], "a/model.onnx"),
        ([an_onnx("net.onnx"), a_file("w.safetensors", foreign=WEIGHTS)], "net.onnx"),
    ],
)
def test_the_entry_is_the_only_onnx_file_or_the_one_named_model(files, entry):
    assert entry_of(files) == entry


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ([an_onnx("a.onnx"), an_onnx("b.onnx")], "ENTRY_AMBIGUOUS"),
        ([an_onnx("a/model.onnx"), an_onnx("b/model.onnx")], "ENTRY_AMBIGUOUS"),
        ([an_onnx("a.onnx"), a_file("scaler.bin", foreign=PICKLE)], "PICKLE_REFUSED"),
        ([a_file("model.onnx", foreign=PICKLE)], "PICKLE_REFUSED"),
        ([a_file("w.safetensors", foreign=WEIGHTS)], "UNSUPPORTED_FORMAT"),
        ([a_file("model.onnx", foreign=WEIGHTS)], "UNSUPPORTED_FORMAT"),
        ([a_file("notes.txt")], "UNSUPPORTED_FORMAT"),
        ([a_file("model.onnx", size_bytes=0)], "UNSUPPORTED_FORMAT"),
        ([a_file("model.onnx", damage="the field at byte 5 is cut short")], "MODEL_UNREADABLE"),
    ],
)
def test_an_artifact_without_one_clear_model_is_refused(files, reason):
    with pytest.raises(InvalidError) as refused:
        entry_of(files)
    assert refused.value.reason == reason


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"ir_version": 99}, "IR_VERSION_UNSUPPORTED"),
        ({"opsets": {"ai.onnx": 99}}, "OPSET_UNSUPPORTED"),
        ({"opsets": {"ai.onnx": 17, "ai.onnx.ml": 9}}, "OPSET_UNSUPPORTED"),
        ({"operators": {"my.company": "Magic"}, "opsets": {"my.company": 1}}, "CUSTOM_OPERATOR"),
        ({"operators": {"ai.onnx.ml": "SVMClassifier"}}, "MODEL_INVALID"),
    ],
)
def test_what_the_runtime_cannot_open_is_refused(change, reason):
    with pytest.raises(InvalidError) as refused:
        operators.check(a_model(**change))
    assert refused.value.reason == reason


def test_an_old_operator_set_is_taken_with_a_warning():
    assert "operator set 6" in operators.check(a_model(opsets={"ai.onnx": 6}))[0]
    assert operators.check(a_model()) == ()


@pytest.mark.parametrize("location", ["weights.bin", "./weights.bin"])
def test_a_tensor_in_an_uploaded_file_is_accepted(location):
    external_data.check("model.onnx", [a_tensor(location=location)], {"weights.bin": 80, "model.onnx": 9})
    external_data.check("net/model.onnx", [a_tensor(location=location)], {"net/weights.bin": 80})


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"location": "../weights.bin"}, "EXTERNAL_DATA_REFUSED"),
        ({"location": "a/../../weights.bin"}, "EXTERNAL_DATA_REFUSED"),
        ({"location": "/etc/passwd"}, "EXTERNAL_DATA_REFUSED"),
        ({"location": "C:\\weights.bin"}, "EXTERNAL_DATA_REFUSED"),
        ({"location": "C:weights.bin"}, "EXTERNAL_DATA_REFUSED"),
        ({"location": "a\\weights.bin"}, "EXTERNAL_DATA_REFUSED"),
        ({"location": ""}, "EXTERNAL_DATA_REFUSED"),
        ({"location": "weights.bin\x00.txt"}, "EXTERNAL_DATA_REFUSED"),
        ({"unknown_keys": ("__class__",)}, "EXTERNAL_DATA_REFUSED"),
        ({"offset": "-1"}, "EXTERNAL_DATA_REFUSED"),
        ({"offset": "1e3"}, "EXTERNAL_DATA_REFUSED"),
        ({"length": "9" * 40}, "EXTERNAL_DATA_REFUSED"),
        ({"location": "*/_ORT_MEM_ADDR_/*"}, "EXTERNAL_DATA_MISSING"),
        ({"location": "other.bin"}, "EXTERNAL_DATA_MISSING"),
        ({"location": "model.onnx"}, "EXTERNAL_DATA_MISSING"),
        ({"offset": "17"}, "EXTERNAL_DATA_RANGE"),
        ({"length": "63"}, "EXTERNAL_DATA_RANGE"),
        ({"needed_bytes": 2**60, "length": ""}, "EXTERNAL_DATA_RANGE"),
        ({"needed_bytes": -8, "length": ""}, "EXTERNAL_DATA_RANGE"),
    ],
)
def test_a_tensor_anywhere_else_is_refused(change, reason):
    with pytest.raises(InvalidError) as refused:
        external_data.check("model.onnx", [a_tensor(**change)], {"weights.bin": 80, "model.onnx": 900})
    assert refused.value.reason == reason
