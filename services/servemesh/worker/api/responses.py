"""Answers of inference as messages."""

from __future__ import annotations

from servemesh.api.oip.v2 import inference_pb2 as pb
from servemesh.tensors import datatypes, raw
from servemesh.worker.service.inference import Answer

OutputTensor = pb.ModelInferResponse.InferOutputTensor


def response(answer: Answer, request_id: str) -> pb.ModelInferResponse:
    """Return the response: outputs raw, one entry each, in the order asked for."""
    slot = answer.slot
    return pb.ModelInferResponse(
        model_name=slot.model,
        model_version=str(slot.version_id),
        id=request_id,
        outputs=[
            OutputTensor(name=name, datatype=datatypes.of_array(output).name, shape=output.shape)
            for name, output in zip(answer.names, answer.outputs, strict=True)
        ],
        raw_output_contents=[raw.encode(output) for output in answer.outputs],
    )
