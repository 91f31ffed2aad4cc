"""Models that nobody here has seen are pushed, deployed and called without code, or refused with a reason."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from examples.demo.mesh import DemoMesh
from servemesh.client import Client
from servemesh.errors import ConflictError, InvalidError
from tests.harness import hostile_files, models
from tests.harness.strangers import STRANGERS, Stranger, reviews, shipped

REFUSED = {
    "network.pt": (hostile_files.torch_checkpoint(), "PICKLE_REFUSED", "torch.onnx.export"),
    "forest.pkl": (hostile_files.PICKLE, "PICKLE_REFUSED", "skl2onnx"),
    "forest.pkl.gz": (gzip.compress(hostile_files.PICKLE), "PICKLE_REFUSED", "skl2onnx"),
    "network.keras": (hostile_files.keras_archive(), "UNSUPPORTED_FORMAT", "model.export"),
    "chat.gguf": (b"GGUF\x03" + bytes(99), "UNSUPPORTED_FORMAT", "weights without the network"),
    "photo.jpg": (b"\xff\xd8\xff\xe0\x00\x10JFIF", "UNSUPPORTED_FORMAT", "inputs of calls"),
    "empty.onnx": (b"", "UNSUPPORTED_FORMAT", "nothing in empty.onnx"),
    "cut.onnx": (models.mlp().SerializeToString()[:-99], "MODEL_UNREADABLE", "cut short"),
    "iris.onnx": (shipped("logreg_iris.onnx").read_bytes(), "OUTPUT_NOT_SERVABLE", "zipmap"),
}


def expected(path: Path, stranger: Stranger) -> dict[str, np.ndarray]:
    """Return what onnxruntime alone answers."""
    file = path if path.is_file() else next(path.glob("*.onnx"))
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, dict(stranger.inputs)), strict=True))


@pytest.mark.parametrize("name", STRANGERS)
def test_an_unseen_model_answers_as_it_does_in_onnxruntime(user_mesh: DemoMesh, tmp_path: Path, name: str):
    stranger = STRANGERS[name]
    path = stranger.path(tmp_path)
    with Client(user_mesh.address) as client:
        client.push(name, path)
        client.deploy(name, wait_s=30)
        answer = client.infer(name, stranger.inputs)
        client.undeploy(name)
        client.remove(name)
    wanted = expected(path, stranger)
    assert list(answer) == list(wanted)
    for output, array in wanted.items():
        if array.dtype == object:
            assert [text.decode() for text in answer[output].flat] == list(array.flat)
        else:
            np.testing.assert_allclose(answer[output], array, rtol=1e-4, atol=1e-5, strict=True)


def test_a_classifier_of_texts_answers_though_the_machine_lacks_its_locale(
    user_mesh: DemoMesh, tmp_path: Path
):
    with Client(user_mesh.address) as client:
        client.push("reviews", models.saved(reviews(), tmp_path))
        client.deploy("reviews", wait_s=30)
        answer = client.infer("reviews", {"text": np.array(["a GREAT film", "Awful, bad"], dtype=object)})
        client.undeploy("reviews")
        client.remove("reviews")
    assert answer["label"].tolist() == [1, 0]


@pytest.mark.parametrize("file", REFUSED)
def test_what_cannot_be_served_is_refused_with_advice_and_leaves_nothing_behind(
    user_mesh: DemoMesh, tmp_path: Path, file: str
):
    data, reason, says = REFUSED[file]
    (tmp_path / file).write_bytes(data)
    with Client(user_mesh.address) as client:
        with pytest.raises(InvalidError, match=says) as refused:
            client.push("refused", tmp_path / file)
        assert "refused" not in [model.model for model in client.models()]
    assert refused.value.reason == reason


def test_a_model_that_contradicts_itself_is_said_to_do_so_when_it_is_deployed(
    user_mesh: DemoMesh, tmp_path: Path
):
    model = models.mlp()
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 63
    onnx.save(model, tmp_path / "model.onnx")
    with Client(user_mesh.address) as client:
        client.push("contradiction", tmp_path / "model.onnx")
        with pytest.raises(ConflictError, match="Gemm"):
            client.deploy("contradiction", wait_s=30)
        client.undeploy("contradiction")
        client.remove("contradiction")
