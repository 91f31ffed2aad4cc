"""Answers of inference as messages."""

from __future__ import annotations

from servemesh.api.oip.v2 import inference_pb2 as pb
from servemesh.errors import ServemeshError
from servemesh.rpc import stream_errors
from servemesh.tensors import datatypes, raw
from servemesh.worker.domain.parameters import EMPTY_FINAL_RESPONSE
from servemesh.worker.service.inference import Answer

FINAL_RESPONSE = "triton_final_response"
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


def stream_response(answer: Answer, request: pb.ModelInferRequest) -> pb.ModelStreamInferResponse:
    """Return the response on a stream; marked as the last of its request if the request asked for the mark."""
    message = response(answer, request.id)
    if request.parameters and request.parameters[EMPTY_FINAL_RESPONSE].bool_param:
        message.parameters[FINAL_RESPONSE].bool_param = True
    return pb.ModelStreamInferResponse(infer_response=message)


def stream_error(error: ServemeshError, request_id: str) -> pb.ModelStreamInferResponse:
    """Return what tells a stream that one of its requests failed."""
    response = pb.ModelInferResponse(id=request_id)
    stream_errors.mark(response, error)
    return pb.ModelStreamInferResponse(error_message=error.message, infer_response=response)
