"""Runs in TensorFlow's own environment, where nothing of Servemesh is installed: `python -I in_tensorflow.py FOLDER`.

Reads request.json in FOLDER and writes result.json there; tensors travel as .npz files.
"""

import json
import os
import sys
import traceback
from importlib import metadata
from pathlib import Path

import numpy as np

os.environ.update(TF_CPP_MIN_LOG_LEVEL="3", CUDA_VISIBLE_DEVICES="-1", KERAS_BACKEND="tensorflow")  # noqa: TID251

OPSET = 18  # the newest that tf2onnx writes
PACKAGES = ("tensorflow-cpu", "keras", "tf2onnx")
SIGNATURE = "serving_default"
# Operators that read or write files, fetch or call back into Python.
REFUSED = {
    "ReadFile", "WriteFile", "MatchingFiles", "WholeFileReader", "WholeFileReaderV2", "PyFunc", "PyFuncStateless",
    "EagerPyFunc", "PrintV2", "DebugIdentity", "DebugIdentityV2", "DebugIdentityV3", "DataServiceDataset",
    "FileSystemSetConfiguration", "LoadDataset", "SaveDataset", "TextLineDataset", "TFRecordDataset",
    "FixedLengthRecordDataset",
}  # fmt: skip


def main(folder):
    """Answer one request."""
    request = json.loads((folder / "request.json").read_text())
    try:
        result = ACTIONS[request["action"]](request, folder)
    except Refused as refusal:
        result = {"refused": {"reason": refusal.reason, "message": str(refusal), "field": refusal.field}}
    except Exception as error:  # noqa: BLE001 - nothing else runs here but what the user gave
        traceback.print_exc()
        result = {"refused": {"reason": "CONVERSION_FAILED", "message": str(error), "field": ""}}
    (folder / "result.json").write_text(json.dumps(result))


class Refused(Exception):  # noqa: N818 - it is no error of this program
    """The program of the user is not convertible; the text is for the user."""

    def __init__(self, reason, message, field=""):
        super().__init__(message)
        self.reason, self.field = reason, field


def convert(request, folder):
    """Write model.onnx into FOLDER; answer the names of inputs and outputs, in order."""
    import tf2onnx

    function, specs, outputs = _function(request)
    try:
        model, _ = tf2onnx.convert.from_function(
            function, input_signature=list(specs.values()), opset=request["opset"] or OPSET
        )
    except Exception as error:
        raise Refused("CONVERSION_FAILED", str(error)) from error
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    return {
        "inputs": list(specs),
        "outputs": outputs,
        "libraries": {package: metadata.version(package) for package in PACKAGES},
    }


def run(request, folder):
    """Run the program on inputs-N.npz and write outputs-N.npz."""
    import tensorflow as tf

    function, specs, outputs = _function(request)
    for number in range(request["batches"]):
        with np.load(folder / f"inputs-{number}.npz", allow_pickle=False) as given:
            tensors = [tf.constant(given[name], dtype=spec.dtype) for name, spec in specs.items()]
        arrays = [np.asarray(tensor) for tensor in tf.nest.flatten(function(*tensors))]
        np.savez(folder / f"outputs-{number}.npz", **dict(zip(outputs, arrays, strict=True)))
    return {}


ACTIONS = {"convert": convert, "run": run}


def _function(request):
    """The program as a function of tensors, with the specs of its inputs and the names of its outputs."""
    return (_keras if request["kind"] == "keras" else _saved_model)(request["source"])


def _keras(source):
    import keras
    import tensorflow as tf

    try:
        model = keras.saving.load_model(source, compile=False, safe_mode=True)
    except Exception as error:
        raise Refused("SOURCE_UNREADABLE", str(error)) from error
    if not getattr(model, "inputs", None):
        raise Refused(
            "SOURCE_UNSUPPORTED",
            f"model {model.name!r} does not know its inputs: call it once before it is saved",
        )
    specs = {
        tensor.name: tf.TensorSpec(tensor.shape, tensor.dtype, name=tensor.name) for tensor in model.inputs
    }
    structure = getattr(model, "input", None)  # a Sequential model has none until it is called

    @tf.function(input_signature=list(specs.values()))
    def function(*tensors):
        given = tensors[0] if structure is None else tf.nest.pack_sequence_as(structure, list(tensors))
        return tf.nest.flatten(model(given, training=False))

    return function, specs, _keras_outputs(model)


def _keras_outputs(model):
    """Keys where the model returns a dict, else the names of the layers that give its outputs."""
    structure = getattr(model, "output", None)
    names = sorted(structure) if isinstance(structure, dict) else [
        tensor._keras_history.operation.name for tensor in model.outputs
    ]  # fmt: skip
    return names if len(set(names)) == len(names) else [f"output_{i}" for i in range(len(names))]


def _saved_model(source):
    import tensorflow as tf

    _check_graphs(source)
    try:
        loaded = tf.saved_model.load(source)
    except Exception as error:
        raise Refused("SOURCE_UNREADABLE", str(error)) from error
    if SIGNATURE not in loaded.signatures:
        known = ", ".join(loaded.signatures) or "none"
        raise Refused(
            "SOURCE_UNSUPPORTED",
            f"the SavedModel has no signature {SIGNATURE} (it has {known}): save it with "
            f"tf.saved_model.save(model, folder, signatures={{'{SIGNATURE}': function}})",
            SIGNATURE,
        )
    signature = loaded.signatures[SIGNATURE]
    specs = dict(sorted(signature.structured_input_signature[1].items()))
    outputs = sorted(signature.structured_outputs)

    @tf.function(input_signature=list(specs.values()))
    def function(*tensors):
        results = signature(**dict(zip(specs, tensors, strict=True)))
        return [results[name] for name in outputs]

    function.kept = loaded  # its variables live as long as it does
    return function, specs, outputs


def _check_graphs(source):
    """Look at the operators before anything is loaded: loading runs some."""
    from tensorflow.core.protobuf import saved_model_pb2

    saved = saved_model_pb2.SavedModel()
    try:
        saved.ParseFromString(Path(source, "saved_model.pb").read_bytes())
    except Exception as error:
        raise Refused("SOURCE_UNREADABLE", "saved_model.pb is damaged") from error
    for graph in (meta.graph_def for meta in saved.meta_graphs):
        for node in (*graph.node, *(node for each in graph.library.function for node in each.node_def)):
            if node.op in REFUSED:
                raise Refused(
                    "CODE_REFUSED",
                    f"node {node.name!r} is a {node.op}, which reaches outside of the model: save it without",
                    node.name,
                )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
