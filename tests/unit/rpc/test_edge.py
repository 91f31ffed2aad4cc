"""Typed errors become statuses and come back as the same errors."""

from __future__ import annotations

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from servemesh import errors
from servemesh.rpc.edge import PUSHBACK_KEY, to_status
from servemesh.rpc.statuses import CODE_OF, code_of, from_rpc_error

texts = st.text(max_size=100)


def rpc_error(status: grpc.Status) -> grpc.aio.AioRpcError:
    trailers = grpc.aio.Metadata(*status.trailing_metadata)
    return grpc.aio.AioRpcError(status.code, grpc.aio.Metadata(), trailers, status.details)


def bare_error(code: grpc.StatusCode, details: str) -> grpc.aio.AioRpcError:
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(), details)


@given(
    st.sampled_from(list(CODE_OF)), texts, st.dictionaries(st.sampled_from(["got", "field", "size"]), texts)
)
def test_an_error_survives_the_wire(kind: type[errors.ServemeshError], text: str, metadata: dict[str, str]):
    error = kind(text, reason="SOME_REASON", **metadata)
    back = from_rpc_error(rpc_error(to_status(error)))
    assert type(back) is kind
    assert (back.message, back.reason, back.metadata) == (text, "SOME_REASON", metadata)
    assert back.retry_after_s == error.retry_after_s


def test_a_subclass_of_a_kind_gets_the_code_of_its_kind():
    class NotDraftError(errors.ConflictError):
        reason = "NOT_DRAFT"

    assert code_of(NotDraftError("x")) is grpc.StatusCode.FAILED_PRECONDITION
    assert from_rpc_error(rpc_error(to_status(NotDraftError("x")))).reason == "NOT_DRAFT"


def test_texts_and_values_are_cut_so_that_trailers_fit():
    status = to_status(errors.InvalidError("x" * 100_000, got="y" * 100_000))
    size_bytes = sum(len(key) + len(value) for key, value in status.trailing_metadata)
    assert size_bytes + len(status.details) < 8_000


def test_an_overload_without_a_wait_tells_clients_not_to_retry():
    status = to_status(errors.OverloadedError("too large", retry_after_s=None))
    assert dict(status.trailing_metadata)[PUSHBACK_KEY] == "-1"
    assert from_rpc_error(rpc_error(status)).retry_after_s is None


@pytest.mark.parametrize("error", [ValueError("/etc/secret"), TimeoutError(), RuntimeError("x")])
def test_what_we_did_not_expect_becomes_a_fixed_phrase(error: Exception):
    first, second = to_status(error), to_status(error)
    assert first.code is grpc.StatusCode.INTERNAL
    assert "/etc/secret" not in str(first)
    assert first.details != second.details  # each has an error id of its own


def test_an_error_of_a_call_onward_is_passed_on_typed():
    onward = rpc_error(to_status(errors.MissingError("no model", reason="MODEL_UNKNOWN")))
    back = from_rpc_error(rpc_error(to_status(onward)))
    assert (type(back), back.reason) == (errors.MissingError, "MODEL_UNKNOWN")


def test_addresses_of_a_failed_connection_are_not_passed_on():
    details = "failed to connect to all addresses; last error: UNKNOWN: ipv4:10.0.0.7:4711: refused"
    error = from_rpc_error(bare_error(grpc.StatusCode.UNAVAILABLE, details))
    assert type(error) is errors.UnavailableError
    assert error.reason == "PEER_UNAVAILABLE"
    assert "10.0.0.7" not in error.message


@pytest.mark.parametrize(
    ("details", "kind", "reason"),
    [
        ("Received RST_STREAM with error code 2", errors.UnavailableError, "ANSWER_BROKEN_OFF"),
        ("Internal error from Core", errors.UnavailableError, "STATUS_LOST"),
        ("out of order", errors.ServemeshError, "INTERNAL"),
    ],
)
def test_what_the_transport_says_in_place_of_a_status_is_told_from_an_error_of_the_peer(
    details: str, kind: type[errors.ServemeshError], reason: str
):
    error = from_rpc_error(bare_error(grpc.StatusCode.INTERNAL, details))
    assert (type(error), error.reason) == (kind, reason)


def test_a_status_without_details_keeps_its_text():
    error = from_rpc_error(
        bare_error(grpc.StatusCode.NOT_FOUND, "Request for unknown model: 'm' is not found")
    )
    assert type(error) is errors.MissingError
    assert error.message == "Request for unknown model: 'm' is not found"


def test_a_call_cancelled_by_a_stopping_server_may_be_sent_elsewhere():
    error = from_rpc_error(bare_error(grpc.StatusCode.CANCELLED, ""))
    assert type(error) is errors.UnavailableError


def test_details_that_are_not_a_status_are_ignored():
    trailers = grpc.aio.Metadata(("grpc-status-details-bin", b"\xff\xff"))
    error = grpc.aio.AioRpcError(grpc.StatusCode.NOT_FOUND, grpc.aio.Metadata(), trailers, "gone")
    assert from_rpc_error(error).message == "gone"
