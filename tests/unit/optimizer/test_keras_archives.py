"""A Keras archive is read only if it is made of Keras's own layers."""

from __future__ import annotations

import json
from typing import Any

import pytest

from servemesh.errors import InvalidError
from servemesh.optimizer.domain.keras_archives import check_config


def a_layer(class_name: str = "Dense", **changes: Any) -> dict[str, Any]:
    relu = {"module": "builtins", "class_name": "function", "config": "relu", "registered_name": "function"}
    config = {
        "name": "dense",
        "dtype": {"module": "keras", "class_name": "DTypePolicy", "config": {"name": "float32"}},
        "activation": relu,
        "kernel_initializer": {
            "module": "keras.initializers",
            "class_name": "GlorotUniform",
            "config": {"seed": None},
            "registered_name": None,
        },
    }
    layer = {"module": "keras.layers", "class_name": class_name, "config": config, "registered_name": None}
    return {**layer, **changes}


def a_config(*layers: dict[str, Any]) -> bytes:
    model = {
        "module": "keras",
        "class_name": "Sequential",
        "config": {"name": "sequential", "layers": list(layers)},
        "registered_name": None,
        "compile_config": {"optimizer": {"module": "mine", "class_name": "Mine", "config": {}}},
    }
    return json.dumps(model).encode()


def refusal_of(*layers: dict[str, Any]) -> InvalidError:
    with pytest.raises(InvalidError) as caught:
        check_config(a_config(*layers))
    return caught.value


def test_a_model_of_keras_layers_is_let_through():
    check_config(a_config(a_layer(), a_layer("Dropout"), a_layer("Multiply", module="keras.src.ops.numpy")))


@pytest.mark.parametrize(
    "layer",
    [
        a_layer("Lambda"),
        a_layer("TorchModuleWrapper"),
        a_layer("TFSMLayer"),
        a_layer(module="mine.layers"),
        a_layer("get_file", module="keras.utils"),
        a_layer("load_model", module="keras.saving"),
        a_layer(module="keras.src.layers.core.dense", registered_name="mine>Dense"),
        a_layer(
            config={"name": "x", "activation": {"module": "os", "class_name": "function", "config": "system"}}
        ),
        a_layer(config={"name": "x", "activation": {"class_name": "function", "config": {"code": "x"}}}),
        a_layer(
            config={"name": "x", "activation": {"class_name": "__lambda__", "config": {"value": "4wE="}}}
        ),
        a_layer(config={"name": "x", "inner": {"deep": [{"class_name": "Lambda", "config": {}}]}}),
        a_layer(config={"name": "../../etc/passwd"}),
        a_layer(config={"name": "a/b"}),
        a_layer(config={"name": 3}),
    ],
)
def test_whatever_runs_code_of_its_own_is_refused(layer):
    assert refusal_of(a_layer(), layer).reason == "CODE_REFUSED"


def test_the_layer_is_named():
    refusal = refusal_of(a_layer("Lambda", config={"name": "my_trick"}))
    assert refusal.metadata["field"] == "my_trick"
    assert "Lambda" in refusal.message


def test_a_layer_that_reads_words_from_a_file_is_not_converted():
    assert refusal_of(a_layer("TextVectorization")).reason == "OPERATOR_UNSUPPORTED"


@pytest.mark.parametrize("raw", [b"", b"{}", b"[]", b"\xff", b'{"class_name": ' * 2_000])
def test_what_is_no_configuration_is_unreadable(raw):
    with pytest.raises(InvalidError) as caught:
        check_config(raw)
    assert caught.value.reason == "SOURCE_UNREADABLE"
