"""Which error is which gRPC status, and how a caller reads an error back from one."""

from __future__ import annotations

import asyncio
import re

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

from servemesh import errors
from servemesh.errors import ServemeshError

MESSAGE_CHARS_MAX = 2_000

CODE_OF: dict[type[ServemeshError], grpc.StatusCode] = {
    errors.InvalidError: grpc.StatusCode.INVALID_ARGUMENT,
    errors.MissingError: grpc.StatusCode.NOT_FOUND,
    errors.ConflictError: grpc.StatusCode.FAILED_PRECONDITION,
    errors.ExistsError: grpc.StatusCode.ALREADY_EXISTS,
    errors.StaleError: grpc.StatusCode.ABORTED,
    errors.OverloadedError: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.UnavailableError: grpc.StatusCode.UNAVAILABLE,
    errors.UnsupportedError: grpc.StatusCode.UNIMPLEMENTED,
    errors.DamagedError: grpc.StatusCode.DATA_LOSS,
    errors.ExpiredError: grpc.StatusCode.DEADLINE_EXCEEDED,
}
KIND_OF = {code: kind for kind, code in CODE_OF.items()}
# A server that stops answers CANCELLED to calls it had accepted: another worker can take them.
KIND_OF[grpc.StatusCode.CANCELLED] = errors.UnavailableError

_ADDRESS = re.compile("(ipv4|ipv6|unix|dns):")
# What the transport says in place of a status:
_RESET = "RST_STREAM"  # the stream ended without one
# It came while more was being sent, and was overwritten (grpc#36066).
_LOST = "Internal error from Core"


def code_of(error: BaseException) -> grpc.StatusCode:
    """Return the status code that a caller gets for `error`."""
    if isinstance(error, asyncio.CancelledError):
        return grpc.StatusCode.CANCELLED
    for kind in type(error).__mro__:
        if kind in CODE_OF:
            return CODE_OF[kind]
    return grpc.StatusCode.INTERNAL


def from_rpc_error(error: grpc.aio.AioRpcError) -> ServemeshError:
    """Return the typed error that the server raised, read back from code, ErrorInfo and RetryInfo."""
    code = error.code()
    kind = KIND_OF.get(code, ServemeshError)
    status = _status_of(error)
    if status is None:
        return _unsaid(error) or kind(_bare_message(error), reason=_bare_reason(code))
    typed = kind(status.message)
    info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
    typed.retry_after_s = None
    for detail in status.details:
        if detail.Unpack(info):
            typed.reason, typed.metadata = info.reason, dict(info.metadata)
        elif detail.Unpack(retry):
            typed.retry_after_s = retry.retry_delay.ToTimedelta().total_seconds()
    return typed


def _unsaid(error: grpc.aio.AioRpcError) -> ServemeshError | None:
    """Return the error for a call whose status never reached us, if it is one."""
    details = error.details() or ""
    if error.code() is not grpc.StatusCode.INTERNAL:
        return None
    if _RESET in details:
        return errors.UnavailableError(
            "the answer broke off on its way: who gave it died", reason="ANSWER_BROKEN_OFF"
        )
    if details == _LOST:
        return errors.UnavailableError(
            "the call was ended while more was being sent, and gRPC lost the reason; send it again to learn it",
            reason="STATUS_LOST",
        )
    return None


def _status_of(error: grpc.aio.AioRpcError) -> status_pb2.Status | None:
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin" and isinstance(value, bytes):
            try:
                return status_pb2.Status.FromString(value)
            except DecodeError:
                return None
    return None


def _bare_message(error: grpc.aio.AioRpcError) -> str:
    """The text of a status without details: the peer's own, or our transport's without addresses."""
    details = error.details() or ""
    if _ADDRESS.search(details):
        return "the other side cannot be reached"
    return details[:MESSAGE_CHARS_MAX] or error.code().name


def _bare_reason(code: grpc.StatusCode) -> str:
    return "PEER_UNAVAILABLE" if code is grpc.StatusCode.UNAVAILABLE else code.name
