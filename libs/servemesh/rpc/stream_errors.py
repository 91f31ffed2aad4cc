"""How an error of one request travels on a stream of answers, where no gRPC status can carry it."""

from __future__ import annotations

from typing import Any

import grpc

from servemesh.errors import ServemeshError
from servemesh.rpc.statuses import KIND_OF, code_of

CODE = "servemesh_code"
REASON = "servemesh_reason"


def mark(response: Any, error: ServemeshError) -> None:
    """Write code and reason of `error` into the parameters of an inference response."""
    response.parameters[CODE].string_param = code_of(error).name
    response.parameters[REASON].string_param = error.reason


def error_of(answer: Any) -> ServemeshError:
    """Return the typed error in an answer that has an error message."""
    marks = {
        key: value.string_param
        for key, value in answer.infer_response.parameters.items()
        if key in (CODE, REASON)
    }
    code = grpc.StatusCode.__members__.get(marks.get(CODE, ""))
    kind = ServemeshError if code is None else KIND_OF.get(code, ServemeshError)
    return kind(answer.error_message, reason=marks.get(REASON))
