"""The one place where errors become gRPC statuses."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Iterable
from contextlib import aclosing
from typing import Any, NoReturn

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from servemesh import errors
from servemesh.errors import ServemeshError
from servemesh.observe import names, traces
from servemesh.observe.calls import calls_of
from servemesh.rpc.statuses import MESSAGE_CHARS_MAX, code_of, from_rpc_error

DOMAIN = "servemesh.dev"
PUSHBACK_KEY = "grpc-retry-pushback-ms"
# The same where the transport keeps that key for itself: Envoy renames it on the way out.
PUSHBACK_KEY_INSIDE = "x-servemesh-pushback-ms"
METADATA_CHARS_MAX = 500
# Envoy writes this header on calls for which it chose the process by the model's name.
CHOSEN_KEY = "x-servemesh-model"
# Such a process that answers one of these bare looks broken to Envoy: the call is sent to another one, and after some
# more of them none is sent here. What is meant for the caller therefore goes as a status of no such meaning, with the
# real one beside it, which Envoy puts back.
ALARMING = frozenset(
    {
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.UNIMPLEMENTED,
        grpc.StatusCode.DATA_LOSS,
    }
)
CALM = grpc.StatusCode.FAILED_PRECONDITION
STATUS_KEY = "x-servemesh-status"
# Envoy passes an answer on once it is whole, but for one that is larger than this: its header asks for that, or callers
# who read slowly would fill Envoy's memory.
HELD_BYTES_MAX = 1 << 20
LONG_KEY = "x-servemesh-long"
LONG = ((LONG_KEY, "1"),)

_log = logging.getLogger(__name__)


def guarded(call: Any, method: str, *, pushback: bool) -> Any:
    """Return the unary `call` inside the edge: counted, traced, and answered with a status whatever happens."""
    metrics = calls_of(method)

    async def guarded_call(payload: Any, context: Any) -> Any:
        started_s, code = metrics.started(), None
        with traces.server_span(method, context) as span:
            try:
                return await call(payload, context)
            except (Exception, asyncio.CancelledError) as error:
                code = _noted(span, error)
                await _refuse(context, error, pushback)
            finally:
                metrics.ended(started_s, code)

    return guarded_call


def guarded_stream(call: Any, method: str, *, pushback: bool) -> Any:
    """Return the streaming `call` inside the edge."""
    metrics = calls_of(method)

    async def guarded_call(payload: Any, context: Any) -> AsyncIterator[Any]:
        started_s, code = metrics.started(), None
        with traces.server_span(method, context) as span:
            try:
                async with aclosing(call(payload, context)) as responses:
                    async for response in responses:
                        yield response
            except (Exception, asyncio.CancelledError) as error:
                code = _noted(span, error)
                await _refuse(context, error, pushback)
            finally:
                metrics.ended(started_s, code)

    return guarded_call


def to_status(error: BaseException, *, pushback: bool = True) -> grpc.Status:
    """Return the status for `error` with one ErrorInfo; what we did not expect is logged, not told.

    A trailer says when to send the call again; without `pushback` it is not the one that gRPC's own retries
    obey, because the transport cannot send that.
    """
    error = typed(error)
    message = error.message[:MESSAGE_CHARS_MAX]
    status = status_pb2.Status(code=code_of(error).value[0], message=message)
    status.details.extend(_details(error))
    described = rpc_status.to_status(status)
    if error.retry_after_s is None and not isinstance(error, errors.OverloadedError):
        return described
    # A negative pushback tells gRPC's own retries to stop.
    pushback_ms = -1 if error.retry_after_s is None else round(error.retry_after_s * 1000)
    key = PUSHBACK_KEY if pushback else PUSHBACK_KEY_INSIDE
    trailers = (*described.trailing_metadata, (key, str(pushback_ms)))
    return described._replace(trailing_metadata=trailers)


def refusal(error: BaseException, metadata: Iterable[tuple[str, Any]], *, pushback: bool) -> grpc.Status:
    """Return the status that ends a call which came with `metadata`: calm towards Envoy where the caller is meant."""
    status = to_status(error, pushback=pushback)
    if (status.code in ALARMING or _is_for_later(error)) and _is_meant(error) and _was_chosen(metadata):
        trailers = (*status.trailing_metadata, (STATUS_KEY, str(status.code.value[0])))
        return status._replace(code=CALM, trailing_metadata=trailers)
    return status


def typed(error: BaseException) -> ServemeshError:
    """Return the error as a caller may read it; what we did not expect is logged, not told."""
    if isinstance(error, grpc.aio.AioRpcError):
        return from_rpc_error(error)
    return error if isinstance(error, ServemeshError) else _unexpected(error)


async def _refuse(context: Any, error: Exception | asyncio.CancelledError, pushback: bool) -> NoReturn:
    if isinstance(error, grpc.aio.AbortError):
        raise error
    if isinstance(error, asyncio.CancelledError):
        if context.cancelled():
            raise error  # the client has left
        # Nobody would answer the client otherwise, and it would wait until its deadline.
        error = errors.UnavailableError("the call was interrupted here; send it again", reason="INTERRUPTED")
    await context.abort_with_status(refusal(error, context.invocation_metadata(), pushback=pushback))
    raise AssertionError("abort never returns")


def _is_meant(error: BaseException) -> bool:
    return isinstance(error, (ServemeshError, grpc.aio.AioRpcError))


def _is_for_later(error: BaseException) -> bool:
    """Whether the caller is to come back after a while, because nobody else can answer either."""
    return isinstance(error, errors.UnavailableError) and bool(error.retry_after_s)


def _was_chosen(metadata: Iterable[tuple[str, Any]]) -> bool:
    return any(key == CHOSEN_KEY for key, _ in metadata)


def _noted(span: Any, error: BaseException) -> str:
    code = code_of(error).name
    if span is not None:
        span.set_attribute("rpc.response.status_code", code)
    return code


def _unexpected(error: BaseException) -> ServemeshError:
    error_id = secrets.token_hex(8)
    _log.error(names.RPC_FAILED, exc_info=error, extra={"error_id": error_id})
    text = f"internal error; the log of the process that answered has the cause under error id {error_id}"
    return ServemeshError(text, error_id=error_id)


def _details(error: ServemeshError) -> list[AnyMessage]:
    metadata = {key: value[:METADATA_CHARS_MAX] for key, value in error.metadata.items()}
    messages: list[Any] = [error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=metadata)]
    if isinstance(error, errors.InvalidError):
        violation = error_details_pb2.BadRequest.FieldViolation(
            field=metadata.get("field", ""),
            description=error.message[:METADATA_CHARS_MAX],
            reason=error.reason,
        )
        messages.append(error_details_pb2.BadRequest(field_violations=[violation]))
    if error.retry_after_s is not None:
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromNanoseconds(round(error.retry_after_s * 1e9))
        messages.append(retry)
    return [_packed(message) for message in messages]


def _packed(message: Any) -> AnyMessage:
    packed = AnyMessage()
    packed.Pack(message)
    return packed
