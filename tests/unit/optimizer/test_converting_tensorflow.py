"""Keras archives and SavedModels convert in an environment of their own.

The tests that need it run with SERVEMESH_TEST_ENVIRONMENTS=1 alone: they make it, which takes minutes and a package
index, and start TensorFlow two or three times each.
"""

from __future__ import annotations

import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from servemesh.optimizer.adapters.converters import environment, tensorflow_process
from tests.harness.conversions import ENVIRONMENTS, Told, converted, outputs_of, refusal, shapes_of, source_of

NAME, REQUIREMENTS = tensorflow_process.NAME, tensorflow_process.REQUIREMENTS
needs_tensorflow = pytest.mark.skipif(
    not os.environ.get("SERVEMESH_TEST_ENVIRONMENTS"),
    reason="SERVEMESH_TEST_ENVIRONMENTS is not set",
)
BUILD = """
import keras, sys, tensorflow as tf
keras.utils.set_random_seed(0)
image = keras.Input((8, 8, 1), name="image")
hidden = keras.layers.BatchNormalization()(keras.layers.Conv2D(4, 3, activation="relu")(image))
flat = keras.layers.Flatten()(keras.layers.MaxPooling2D()(hidden))
model = keras.Model(image, keras.layers.Dense(10, activation="softmax", name="digit")(flat))
if "sequence" in sys.argv:
    keras.Sequential([keras.Input((4,), name="row"), keras.layers.Dense(2, name="sum")]).save(sys.argv[1])
elif "pair" in sys.argv:
    left, right = keras.Input((4,), name="left"), keras.Input((4,), name="right")
    keras.Model({"left": left, "right": right}, {"sum": left + right, "less": left - 2 * right}).save(sys.argv[1])
elif sys.argv[1].endswith(".keras"):
    model.save(sys.argv[1])
else:
    spec = tf.TensorSpec((None, 8, 8, 1), tf.float32, name="image")
    serve = tf.function(lambda image: {"digit": model(image)}, input_signature=[spec])
    if "files" in sys.argv:
        serve = tf.function(
            lambda image: {"digit": model(image) + tf.strings.to_number(tf.io.read_file("/etc/hostname"))},
            input_signature=[spec],
        )
    module = tf.Module()
    module.model = model
    tf.saved_model.save(module, sys.argv[1], signatures={"serving_default": serve})
"""


def build(target: Path, *options: str) -> None:
    """Have TensorFlow save a small network at `target`."""
    python = environment.made(NAME, REQUIREMENTS, ENVIRONMENTS, Told())
    command = [str(python), "-c", BUILD, str(target), *options]
    subprocess.run(command, check=True, env={**os.environ, "CUDA_VISIBLE_DEVICES": "-1"})


@needs_tensorflow
@pytest.mark.timeout(1_800)
@pytest.mark.parametrize(("name", "expected"), [("net.keras", "keras"), ("net", "tensorflow")])
def test_a_network_of_tensorflow_converts(tmp_path, name, expected):
    build(source_of(tmp_path) / name)
    result = converted(tmp_path)
    assert result["format"] == expected
    assert result["parity"]["max_rel"] <= 1e-4
    assert result["parity"]["argmax_agreement"] == 1.0
    assert shapes_of(tmp_path)["image"] == ["batch", 8, 8, 1]
    assert outputs_of(tmp_path, image=np.zeros((3, 8, 8, 1), np.float32))["digit"].shape == (3, 10)


@needs_tensorflow
@pytest.mark.timeout(1_800)
def test_a_sequence_of_layers_converts(tmp_path):
    build(source_of(tmp_path) / "net.keras", "sequence")
    converted(tmp_path)
    assert shapes_of(tmp_path) == {"row": ["batch", 4], "sum": ["batch", 2]}


@needs_tensorflow
@pytest.mark.timeout(1_800)
def test_inputs_and_outputs_keep_their_names(tmp_path):
    build(source_of(tmp_path) / "net.keras", "pair")
    converted(tmp_path)
    rows = np.arange(4, dtype=np.float32)[None]
    made = outputs_of(tmp_path, left=rows, right=3 * rows)
    np.testing.assert_array_equal(made["sum"], 4 * rows)
    np.testing.assert_array_equal(made["less"], -5 * rows)


@needs_tensorflow
@pytest.mark.timeout(1_800)
def test_a_network_that_reads_files_is_refused(tmp_path):
    build(source_of(tmp_path) / "net", "files")
    error = refusal(tmp_path)
    assert error.reason == "CODE_REFUSED"
    assert "ReadFile" in error.message


def test_an_environment_that_cannot_be_made_says_what_to_install(tmp_path):
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("--no-index\nservemesh-no-such-package==9\n")
    error = environment_error(tmp_path, requirements)
    assert error.reason == "ENVIRONMENT_NOT_AVAILABLE"
    assert "servemesh-no-such-package==9" in error.message


def environment_error(folder: Path, requirements: Path):
    with pytest.raises(environment.UnavailableError) as caught:
        environment.made("odd", requirements, folder / "environments", Told())
    return caught.value


def test_an_environment_that_is_half_made_is_made_anew(tmp_path):
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("# nothing\n")
    home = environment.existing_home("empty", requirements, tmp_path)
    (home / "bin").mkdir(parents=True)
    assert not environment.is_made("empty", requirements, tmp_path)
    python = environment.made("empty", requirements, tmp_path, Told())
    assert python.exists()
    assert environment.is_made("empty", requirements, tmp_path)
    again = Told()
    environment.made("empty", requirements, tmp_path, again)
    assert again.lines == []


def test_two_that_need_an_environment_at_once_make_it_once(tmp_path):
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("# nothing, for two\n")
    told = (Told(), Told())
    with ThreadPoolExecutor(2) as threads:
        made = list(threads.map(lambda each: environment.made("two", requirements, tmp_path, each), told))
    assert made[0] == made[1]
    assert sorted(len(each.lines) for each in told) == [0, 1]
