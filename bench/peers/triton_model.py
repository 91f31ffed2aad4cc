"""A model of Triton's Python backend: runs the requests of a batch as one with onnxruntime."""

import sys

sys.path.insert(0, "@SITE_PACKAGES@")  # replaced by the environment's folder when the model is installed

from pathlib import Path

import numpy as np
import onnxruntime as ort
import triton_python_backend_utils as triton


class TritonPythonModel:
    def initialize(self, args):
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self.session = ort.InferenceSession(str(Path(__file__).with_name("model.onnx")), options)
        self.inputs = [(spec.name, len(spec.shape)) for spec in self.session.get_inputs()]
        self.outputs = [spec.name for spec in self.session.get_outputs()]

    def execute(self, requests):
        asked = [
            {name: triton.get_input_tensor_by_name(request, name).as_numpy() for name, _ in self.inputs}
            for request in requests
        ]
        if len(requests) == 1:
            return [self._response(self.session.run(self.outputs, self._shaped(asked[0])))]
        batch = {name: np.concatenate([one[name] for one in asked]) for name, _ in self.inputs}
        results = self.session.run(self.outputs, batch)
        first, responses = self.inputs[0][0], []
        start = 0
        for one in asked:
            stop = start + len(one[first])
            responses.append(self._response([result[start:stop] for result in results]))
            start = stop
        return responses

    def _shaped(self, arrays):
        """Scalars come as arrays of one."""
        return {name: arrays[name].reshape(()) if rank == 0 else arrays[name] for name, rank in self.inputs}

    def _response(self, results):
        tensors = [triton.Tensor(name, array) for name, array in zip(self.outputs, results, strict=True)]
        return triton.InferenceResponse(output_tensors=tensors)
