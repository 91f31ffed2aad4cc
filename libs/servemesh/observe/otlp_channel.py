"""A gRPC channel to an OpenTelemetry collector, for a thread that may wait for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import grpc
from google.rpc import error_details_pb2, status_pb2

from servemesh.observe.outbox import Letter, Outcome, Verdict

PORT = 4317
_STATUS_KEY = "grpc-status-details-bin"
_OPTIONS = (
    ("grpc.enable_retries", 0),
    ("grpc.max_send_message_length", -1),
    ("grpc.max_reconnect_backoff_ms", 5_000),
    ("grpc.initial_reconnect_backoff_ms", 500),
    ("grpc.use_local_subchannel_pool", 1),
)
_LATER = frozenset(
    {
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.OUT_OF_RANGE,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DATA_LOSS,
    }
)


class OtlpChannel:
    """Sends OTLP's messages and says what became of them."""

    def __init__(self, channel: grpc.Channel, metadata: tuple[tuple[str, str], ...] = ()) -> None:
        self._channel = channel
        self._metadata = metadata

    @classmethod
    @contextmanager
    def opened(cls, endpoint: str, metadata: tuple[tuple[str, str], ...] = ()) -> Iterator[OtlpChannel]:
        """Speak to "http://host:port", or with TLS to "https://host:port"; leaving gives up what is under way."""
        parts = urlsplit(endpoint)
        host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
        target = f"{host}:{parts.port or PORT}"
        if parts.scheme == "https":
            channel = grpc.secure_channel(target, grpc.ssl_channel_credentials(), options=_OPTIONS)
        else:
            channel = grpc.insecure_channel(target, options=_OPTIONS)
        try:
            yield cls(channel, metadata)
        finally:
            channel.close()

    def post(self, letter: Letter, timeout_s: float) -> Outcome:
        """Send one message."""
        method = self._channel.unary_unary(letter.method)
        try:
            method(letter.message, timeout=timeout_s, metadata=self._metadata)
        except grpc.RpcError as error:
            return outcome_of(error.code(), error.trailing_metadata() or ())
        except ValueError:  # the channel is closed
            return Outcome(verdict=Verdict.LATER)
        return Outcome(verdict=Verdict.TAKEN)


def outcome_of(code: grpc.StatusCode, trailers: tuple[tuple[str, str | bytes], ...]) -> Outcome:
    """Return what OTLP makes of a status: one who has too much to do must say when to come again."""
    after_s = _retry_s(trailers)
    if code in _LATER or (code is grpc.StatusCode.RESOURCE_EXHAUSTED and after_s is not None):
        return Outcome(verdict=Verdict.LATER, after_s=after_s)
    return Outcome(verdict=Verdict.REFUSED)


def _retry_s(trailers: tuple[tuple[str, str | bytes], ...]) -> float | None:
    for key, value in trailers:
        if key == _STATUS_KEY and isinstance(value, bytes):
            status = status_pb2.Status()
            status.MergeFromString(value)
            for detail in status.details:
                retry = error_details_pb2.RetryInfo()
                if detail.Unpack(retry):
                    return float(retry.retry_delay.ToNanoseconds() / 1e9)
    return None
