"""The models that are measured, and one request for each: the same bytes for every server."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

from bench import http2
from examples.demo import models as fetched_models
from servemesh.api.oip.v2 import inference_pb2 as pb
from servemesh.tensors import datatypes
from tests.harness import models as built_models

SERVICE = "/inference.GRPCInferenceService"
UNARY, STREAM = f"{SERVICE}/ModelInfer", f"{SERVICE}/ModelStreamInfer"
Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A model file. `is_batched` says whether the rows of several requests can be put together on axis 0."""

    name: str
    path: Path
    is_batched: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is asked of a model, over and over."""

    name: str  # of the model with what is asked of it: "MiniLM, 16 tokens"
    model: Model
    inputs: Arrays

    def body(self, *, has_scalars: bool = True) -> bytes:
        """Return it as a gRPC message, for calls and for streams. Without scalars they are arrays of one."""
        message = pb.ModelInferRequest(
            model_name=self.model.name,
            inputs=[
                pb.ModelInferRequest.InferInputTensor(
                    name=name, datatype=_datatype(array), shape=array.shape or ([] if has_scalars else [1])
                )
                for name, array in self.inputs.items()
            ],
            raw_input_contents=[array.tobytes() for array in self.inputs.values()],
        )
        return http2.message(message.SerializeToString())

    def check(self, answer: bytes) -> None:
        """ValueError unless a ModelInferResponse holds what onnxruntime computes."""
        session = ort.InferenceSession(str(self.model.path))
        response = pb.ModelInferResponse.FromString(answer)
        outputs = {output.name: index for index, output in enumerate(response.outputs)}
        for output, expected in zip(session.get_outputs(), session.run(None, dict(self.inputs)), strict=True):
            index = outputs[output.name]
            if response.raw_output_contents:
                got = np.frombuffer(response.raw_output_contents[index], expected.dtype)
            else:
                got = np.array(response.outputs[index].contents.fp32_contents, expected.dtype)
            if not np.allclose(got, expected.ravel(), atol=1e-3, rtol=1e-3):
                raise ValueError(f"{self.name}: {output.name} is not what the model computes")


def requests(folder: Path) -> list[Request]:
    """Return a request for each workload; models that are built here are written to `folder`."""
    random = np.random.default_rng(0)
    mlp = Model(name="mlp", path=built_models.saved(built_models.mlp(), folder / "mlp"))
    vad = Model(name="vad", path=fetched_models.fetched(fetched_models.SILERO_VAD), is_batched=False)
    minilm = Model(name="minilm", path=fetched_models.fetched(fetched_models.MINILM))
    image = Model(name="image", path=built_models.saved(_image_model(), folder / "image"))
    return [
        Request(name="tiny MLP", model=mlp, inputs={"x": _normal(random, 1, 64)}),
        Request(
            name="silero-vad",
            model=vad,
            inputs={
                "input": _normal(random, 1, 576) / 10,
                "state": np.zeros((2, 1, 128), np.float32),
                "sr": np.array(16_000, np.int64),
            },
        ),
        Request(name="MiniLM, 16 tokens", model=minilm, inputs=_tokens(random, 16)),
        Request(name="MiniLM, 128 tokens", model=minilm, inputs=_tokens(random, 128)),
        Request(name="600 KB image", model=image, inputs={"x": _normal(random, 1, 3, 224, 224)}),
    ]


def _normal(random: np.random.Generator, *shape: int) -> np.ndarray:
    return random.normal(size=shape).astype(np.float32)


def _tokens(random: np.random.Generator, length: int) -> Arrays:
    return {
        "input_ids": random.integers(1_000, 20_000, (1, length)),
        "attention_mask": np.ones((1, length), np.int64),
        "token_type_ids": np.zeros((1, length), np.int64),
    }


def _image_model() -> onnx.ModelProto:
    """Return a model that takes long to be sent and not to be run: the mean of each colour, then ten classes."""
    weights = np.random.default_rng(0).normal(size=(3, 10)).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("GlobalAveragePool", ["x"], ["means"]),
            helper.make_node("Flatten", ["means"], ["flat"]),
            helper.make_node("MatMul", ["flat", "weights"], ["y"]),
        ],
        "image",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ("rows", 3, 224, 224))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ("rows", 10))],
        [numpy_helper.from_array(weights, "weights")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def _datatype(array: np.ndarray) -> str:
    return next(name for name, kind in datatypes.DATATYPES.items() if kind.dtype == array.dtype)
