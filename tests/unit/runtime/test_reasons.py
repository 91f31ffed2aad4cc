"""What a caller is told of onnxruntime's errors."""

from __future__ import annotations

import pytest

from servemesh.runtime.reasons import CHARS_MAX, reason_of

SOURCE = "/onnxruntime_src/onnxruntime/core/providers/cpu/tensor/reshape_helper.h:91"
TOLD = [
    (
        "[ONNXRuntimeError] : 1 : FAIL : Load model from /srv/models/model.onnx failed:Type Error: Type parameter (T) "
        "of Optype (Add) bound to different types",
        "Type Error: Type parameter (T) of Optype (Add) bound to different types",
    ),
    (
        "[ONNXRuntimeError] : 9 : NOT_IMPLEMENTED : Could not find an implementation for Add(14)",
        "Could not find an implementation for Add(14)",
    ),
    (
        '[ONNXRuntimeError] : 1 : FAIL : External data path does not exist: "/srv/models/w.bin"',
        'External data path does not exist: "w.bin"',
    ),
    (
        "[ONNXRuntimeError] : 1 : FAIL : Non-zero status code returned while running Reshape node. "
        f"Name:'node_view' Status Message: {SOURCE} onnxruntime::ReshapeHelper::ReshapeHelper(const "
        "onnxruntime::TensorShape&, onnxruntime::TensorShapeVector&, bool) size (6) was not met.",
        "node 'node_view' (Reshape): size (6) was not met",
    ),
    (
        "[ONNXRuntimeError] : 1 : FAIL : Exception during initialization: /src/string_normalizer.cc:235 "
        "onnxruntime::StringNormalizer::Locale::Locale(const std::string&)::<lambda()> Failed to construct\n locale",
        "Failed to construct locale",
    ),
    ("concatbase.h:133 PrepareForCompute Dimensions must match.", "Dimensions must match"),
    (
        "Non-zero status code returned while running If node. Name:'' Status Message: Non-zero status code "
        "returned while running Pad node. Name:'/stft/Pad' Status Message: too short",
        "a node If: node '/stft/Pad' (Pad): too short",
    ),
    ("/src/a.cc:1 f::g(", ""),
    ("", ""),
]


@pytest.mark.parametrize(("said", "told"), TOLD)
def test_what_is_said_of_the_model_is_told_and_nothing_of_the_machine(said: str, told: str):
    assert reason_of(RuntimeError(said), "/srv/models") == told


def test_it_is_never_long():
    assert len(reason_of(RuntimeError("word " * 1000))) == CHARS_MAX
