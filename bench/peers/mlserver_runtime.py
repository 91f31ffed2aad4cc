"""A runtime of MLServer: runs a request, which MLServer may have put together out of several, with onnxruntime."""

import onnxruntime as ort
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceResponse


class OnnxRuntime(MLModel):
    async def load(self):
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self.session = ort.InferenceSession(self.settings.parameters.uri, options)
        self.ranks = {spec.name: len(spec.shape) for spec in self.session.get_inputs()}
        self.names = [spec.name for spec in self.session.get_outputs()]
        return True

    async def predict(self, payload):
        inputs = {one.name: NumpyCodec.decode_input(one) for one in payload.inputs}
        shaped = {
            name: array.reshape(()) if self.ranks[name] == 0 else array for name, array in inputs.items()
        }
        results = self.session.run(self.names, shaped)
        outputs = [
            NumpyCodec.encode_output(name, array) for name, array in zip(self.names, results, strict=True)
        ]
        return InferenceResponse(id=payload.id, model_name=self.name, outputs=outputs)
