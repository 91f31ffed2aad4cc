"""What passes that quantise by onnxruntime share: the processor's habits, what may not be touched, what was done."""

from __future__ import annotations

import platform
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from servemesh.optimizer.adapters.passes import models

_WEIGHED = frozenset(
    {"Attention", "Conv", "ConvTranspose", "EmbedLayerNormalization", "Gather", "Gemm", "LSTM", "MatMul"}
)
_EXACT = {"avx512_vnni", "avx_vnni", "amx_int8"}
_INTEGER = frozenset(
    {"ConvInteger", "DynamicQuantizeLSTM", "DynamicQuantizeMatMul", "MatMulInteger", "QAttention"}
    | {"QEmbedLayerNormalization", "QGemm", "QLinearConv", "QLinearMatMul", "DequantizeLinear"}
)


def reduces_range(wanted: str) -> tuple[bool, str]:
    """Return whether weights use 7 of 8 bits, and a note that says why."""
    if wanted != "auto":
        return wanted == "yes", f"Weights use {7 if wanted == 'yes' else 8} bits, as asked for."
    if _multiplies_exactly():
        return False, "Weights use 8 bits: this processor's products of 8 bits cannot overflow."
    return True, "Weights use 7 bits: this processor has no VNNI, and its products of 8 bits can overflow."


def _multiplies_exactly() -> bool:
    if platform.machine().lower() not in ("x86_64", "amd64", "x86", "i686"):
        return True
    try:
        words = set(Path("/proc/cpuinfo").read_text().split())
    except OSError:
        return False
    return bool(words & _EXACT)


def check_any(model: onnx.ModelProto, pass_id: str) -> None:
    """InvalidError unless the model has float32 weights that a node multiplies by."""
    weights = models.weights(model)
    if not any(node.op_type in _WEIGHED and weights.keys() & set(node.input) for node in models.nodes(model)):
        raise models.does_not_apply(
            pass_id, "no node of it multiplies by float32 weights", "use a pass for its kind of model"
        )


def _without_shapes_of_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """Exporters note them a second time, and onnxruntime transposes weights without looking there."""
    weights = {tensor.name for tensor in model.graph.initializer}
    noted = [value for value in model.graph.value_info if value.name not in weights]
    if len(noted) == len(model.graph.value_info):
        return model
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    del copy.graph.value_info[:]
    copy.graph.value_info.extend(noted)
    return copy


@contextmanager
def as_file(model: onnx.ModelProto) -> Iterator[Path]:
    """Give the model as a file in a folder of its own, where onnxruntime may leave others, and we are meanwhile."""
    with tempfile.TemporaryDirectory() as folder, chdir(folder):
        path = Path(folder) / "model.onnx"
        models.write(_without_shapes_of_weights(model), path, model)
        yield path


def untouchable(model: onnx.ModelProto) -> list[str]:
    """Return the nodes whose weights subgraphs read, too: onnxruntime would take these weights away from them."""
    inside = models.names_read_inside(model)
    return [node.name for node in model.graph.node if inside & set(node.input[1:])]


def finished(made: Path, target: Path, like: onnx.ModelProto, pass_id: str, instead: str) -> str:
    """Write what onnxruntime made with the interface of `like`; return what was quantised, in words."""
    model = onnx.load(made)
    models.name_nodes(model)
    had = _counts(like)
    counts = _counts(model) - had
    if not counts:
        raise models.does_not_apply(pass_id, "it has nothing that can be quantised so", instead)
    _lighten(model)
    models.write(model, target, like)
    words = ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))
    return f"Quantised operators: {words}."


def _lighten(model: onnx.ModelProto) -> None:
    """Leave out what onnxruntime wrote and nothing needs: inferred shapes, and zero points of biases, which are zero.

    Those of weights are zero, too, but without them the runtime does not compute Gemm in int8.
    """
    del model.graph.value_info[:]
    zeros = {
        tensor.name
        for tensor in model.graph.initializer
        if tensor.data_type == onnx.TensorProto.INT32 and not np.any(numpy_helper.to_array(tensor))
    }
    for node in model.graph.node:
        if node.op_type == "DequantizeLinear" and len(node.input) == 3 and node.input[2] in zeros:
            node.input.pop()
    models.forget_unread(model)


def _counts(model: onnx.ModelProto) -> Counter[str]:
    return Counter(node.op_type for node in models.nodes(model) if node.op_type in _INTEGER)
