"""What Envoy says when it answers a call itself: gRPC statuses with texts and reasons of ours."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import grpc
from envoy.config.accesslog.v3 import accesslog_pb2
from envoy.config.core.v3 import base_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2 as hcm_pb2
from google.rpc import error_details_pb2, status_pb2

from servemesh.gateway.adapters import xds_values as xds
from servemesh.gateway.domain.snapshot.policy import EdgePolicy

ERROR_DOMAIN = "servemesh.dev"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """One answer, and when Envoy gives it: by its response flag or by the HTTP status it had in mind."""

    code: grpc.StatusCode
    reason: str
    message: str
    flags: tuple[str, ...] = ()
    http_status: int | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    pushback_ms: int | None = None


def local_replies(policy: EdgePolicy) -> hcm_pb2.LocalReplyConfig:
    """Return the table of answers; the first that fits is given."""
    return hcm_pb2.LocalReplyConfig(mappers=[_mapper(reply) for reply in _replies(policy)])


def _replies(policy: EdgePolicy) -> Sequence[Reply]:
    message_max, metadata_max = policy.calls.message_bytes_max, policy.calls.metadata_bytes_max
    late = Reply(
        code=grpc.StatusCode.DEADLINE_EXCEEDED,
        reason="DEADLINE_EXCEEDED",
        message="the deadline of the call passed before a worker had answered",
    )
    return (
        replace(late, http_status=408),  # while the request was still coming
        replace(late, http_status=504),  # while the answer was awaited
        replace(late, flags=("DT", "UT", "SI")),
        Reply(
            flags=("UO", "OM", "RL"),
            code=grpc.StatusCode.RESOURCE_EXHAUSTED,
            reason="EDGE_OVERLOADED",
            message="the edge has as many calls under way as it takes; try again later",
            pushback_ms=policy.pushback_ms,
        ),
        Reply(
            http_status=413,
            code=grpc.StatusCode.RESOURCE_EXHAUSTED,
            reason="MESSAGE_TOO_LARGE",
            message=f"the message is larger than the limit of {message_max} bytes",
            metadata={"limit_bytes": str(message_max)},
        ),
        Reply(
            http_status=431,
            code=grpc.StatusCode.RESOURCE_EXHAUSTED,
            reason="METADATA_TOO_LARGE",
            message=f"the metadata of the call is larger than the limit of {metadata_max} bytes",
            metadata={"limit_bytes": str(metadata_max)},
        ),
        Reply(
            flags=("UH", "UF", "UC", "UR", "URX", "NC", "LH", "LR"),
            code=grpc.StatusCode.UNAVAILABLE,
            reason="NO_WORKER_AVAILABLE",
            message="no healthy process of the mesh can answer this call now; try again later",
            pushback_ms=policy.pushback_ms,
        ),
        Reply(
            flags=("NR",),
            code=grpc.StatusCode.UNIMPLEMENTED,
            reason="UNIMPLEMENTED",
            message="the mesh has no method of this name",
        ),
    )


def _mapper(reply: Reply) -> hcm_pb2.ResponseMapper:
    headers = {"grpc-status": str(reply.code.value[0]), "grpc-status-details-bin": _details(reply)}
    if reply.pushback_ms is not None:
        headers["grpc-retry-pushback-ms"] = str(reply.pushback_ms)
    return hcm_pb2.ResponseMapper(
        filter=_filter(reply),
        body=base_pb2.DataSource(inline_string=reply.message),
        headers_to_add=[
            base_pb2.HeaderValueOption(
                header=base_pb2.HeaderValue(key=key, value=value),
                append_action=base_pb2.HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD,
            )
            for key, value in headers.items()
        ],
    )


def _filter(reply: Reply) -> accesslog_pb2.AccessLogFilter:
    if reply.http_status is None:
        flags = accesslog_pb2.ResponseFlagFilter(flags=reply.flags)
        return accesslog_pb2.AccessLogFilter(response_flag_filter=flags)
    comparison = accesslog_pb2.ComparisonFilter(op=accesslog_pb2.ComparisonFilter.EQ)
    comparison.value.default_value = reply.http_status
    comparison.value.runtime_key = f"servemesh.reply.{reply.http_status}"
    return accesslog_pb2.AccessLogFilter(
        status_code_filter=accesslog_pb2.StatusCodeFilter(comparison=comparison)
    )


def _details(reply: Reply) -> str:
    info = error_details_pb2.ErrorInfo(reason=reply.reason, domain=ERROR_DOMAIN, metadata=reply.metadata)
    status = status_pb2.Status(
        code=reply.code.value[0], message=reply.message, details=[xds.packed(info)]
    ).SerializeToString(deterministic=True)
    return base64.b64encode(status).decode().rstrip("=")
