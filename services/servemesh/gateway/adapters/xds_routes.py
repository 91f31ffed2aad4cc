"""The routes of a snapshot as xDS messages: which method goes where, for how long, and how often."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import resources

from envoy.config.core.v3 import base_pb2, extension_pb2
from envoy.config.route.v3 import route_components_pb2, route_pb2
from envoy.extensions.filters.http.lua.v3 import lua_pb2
from envoy.extensions.retry.host.previous_hosts.v3 import previous_hosts_pb2
from envoy.extensions.router.cluster_specifiers.lua.v3 import lua_pb2 as cluster_specifier_pb2
from google.protobuf import struct_pb2

from servemesh.gateway.adapters import xds_values as xds
from servemesh.gateway.domain.snapshot.policy import EdgePolicy, Retries
from servemesh.gateway.domain.snapshot.values import Snapshot
from servemesh.rpc.edge import LONG_KEY

ROUTES = "edge-routes"
MODEL_INFER = "/inference.GRPCInferenceService/ModelInfer"
GATEWAY_PREFIXES = ("/inference.", "/grpc.health.v1.", "/grpc.reflection.")
OPTIMIZER_PREFIX = "/servemesh.api.optimizer.v1."
METRICS_PREFIX = "/servemesh.api.metrics.v1."
REGISTRY_PREFIXES = ("/servemesh.api.registry.v1.", "/servemesh.api.fleet.v1.")
# What workers say to the edge in keys of their own, and what callers get: the status that is meant for them, and when
# to come back, where the worker's transport keeps that key to itself.
RENAMED = (("x-servemesh-status", "grpc-status"), ("x-servemesh-pushback-ms", "grpc-retry-pushback-ms"))
CUT, UNCUT = "/cut", (1,)  # no model has this name
# By its content type: servers do not look at it, and would take for a message whatever comes.
GRPC_ALONE = route_components_pb2.RouteMatch.GrpcRouteMatchOptions()


def routes_of(snapshot: Snapshot) -> list[route_pb2.RouteConfiguration]:
    """Return the one table of routes; what it does not name is UNIMPLEMENTED."""
    policy = snapshot.policy
    to_gateway = (_route_to_service(prefix, xds.GATEWAY, policy) for prefix in GATEWAY_PREFIXES)
    to_registry = (_route_to_service(prefix, xds.REGISTRY, policy) for prefix in REGISTRY_PREFIXES)
    routes = [_route_to_workers(snapshot), *to_gateway, *to_registry]
    if snapshot.neighbours.optimizers:
        routes.append(_route_to_service(OPTIMIZER_PREFIX, xds.OPTIMIZER, policy))
    if snapshot.neighbours.metrics_services:
        routes.append(_route_to_service(METRICS_PREFIX, xds.METRICS, policy))
    host = route_components_pb2.VirtualHost(
        name=xds.EDGE,
        domains=["*"],
        routes=routes,
        response_headers_to_remove=[*(inside for inside, _ in RENAMED), LONG_KEY],
    )
    return [route_pb2.RouteConfiguration(name=ROUTES, virtual_hosts=[host])]


def _route_to_workers(snapshot: Snapshot) -> route_components_pb2.Route:
    policy, calls = snapshot.policy, snapshot.policy.calls
    action = route_components_pb2.RouteAction(
        timeout=xds.seconds(0),  # one clock is enough: the stream's
        idle_timeout=xds.seconds(0),
        max_stream_duration=route_components_pb2.RouteAction.MaxStreamDuration(
            max_stream_duration=xds.seconds(calls.deadline_s_default),
            grpc_timeout_header_max=xds.seconds(calls.deadline_s_max),
        ),
        retry_policy=_retries_elsewhere(policy.retries),
    )
    if snapshot.cuts == UNCUT:
        action.cluster = xds.WORKERS
    else:
        action.inline_cluster_specifier_plugin.CopyFrom(_by_model(snapshot.cuts))
    match = route_components_pb2.RouteMatch(path=MODEL_INFER, grpc=GRPC_ALONE)
    route = route_components_pb2.Route(name="infer", match=match, route=action)
    route.response_headers_to_add.extend(_renamed(inside, outside) for inside, outside in RENAMED)
    route.request_body_buffer_limit.value = calls.message_bytes_max + calls.message_margin_bytes
    route.typed_per_filter_config[xds.LUA].CopyFrom(
        xds.packed(lua_pb2.LuaPerRoute(filter_context=_context(snapshot)))
    )
    return route


def _renamed(inside: str, outside: str) -> base_pb2.HeaderValueOption:
    """Return what sets the header `outside` where a response has the header `inside`, and else does nothing."""
    return base_pb2.HeaderValueOption(
        header=base_pb2.HeaderValue(key=outside, value=f"%RESP({inside})%"),
        append_action=base_pb2.HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD,
    )


def _route_to_service(prefix: str, cluster: str, policy: EdgePolicy) -> route_components_pb2.Route:
    action = route_components_pb2.RouteAction(
        cluster=cluster,
        timeout=xds.seconds(0),
        idle_timeout=xds.seconds(0),  # a watch may be silent for hours; pings find the dead
        # Streams end when they end. A deadline is the service's to keep: where an answer has begun, Envoy could only
        # reset the stream, and a caller whose clock is a moment later would take that for INTERNAL.
        max_stream_duration=route_components_pb2.RouteAction.MaxStreamDuration(
            max_stream_duration=xds.seconds(0)
        ),
        # Only what no service has seen yet may be sent again unasked.
        retry_policy=_retry_policy(policy.retries, on=("connect-failure", "refused-stream")),
    )
    match = route_components_pb2.RouteMatch(prefix=prefix, grpc=GRPC_ALONE)
    return route_components_pb2.Route(name=f"{cluster}:{prefix}", match=match, route=action)


def _retries_elsewhere(retries: Retries) -> route_components_pb2.RetryPolicy:
    policy = _retry_policy(retries, on=retries.on)
    policy.retry_host_predicate.append(
        route_components_pb2.RetryPolicy.RetryHostPredicate(
            name="envoy.retry_host_predicates.previous_hosts",
            typed_config=xds.packed(previous_hosts_pb2.PreviousHostsPredicate()),
        )
    )
    policy.host_selection_retry_max_attempts = retries.host_attempts_max
    return policy


def _retry_policy(retries: Retries, *, on: Iterable[str]) -> route_components_pb2.RetryPolicy:
    return route_components_pb2.RetryPolicy(
        retry_on=",".join(on),
        num_retries=xds.number(retries.attempts_max),
        retry_back_off=route_components_pb2.RetryPolicy.RetryBackOff(
            base_interval=xds.seconds(retries.backoff_min_s), max_interval=xds.seconds(retries.backoff_max_s)
        ),
    )


def cluster_chooser(cuts: Iterable[int]) -> str:
    """Return the Lua script that chooses the cluster of a model."""
    script = (resources.files("servemesh.gateway") / "edge" / "cluster_chooser.lua").read_text()
    return f"local CUTS = {{{', '.join(map(str, cuts))}}}\n{script}"


def _by_model(cuts: Iterable[int]) -> route_components_pb2.ClusterSpecifierPlugin:
    source = base_pb2.DataSource(inline_string=cluster_chooser(cuts))
    chooser = cluster_specifier_pb2.LuaConfig(source_code=source, default_cluster=xds.GATEWAY)
    return route_components_pb2.ClusterSpecifierPlugin(
        extension=extension_pb2.TypedExtensionConfig(
            name="envoy.router.cluster_specifier_plugin.lua", typed_config=xds.packed(chooser)
        )
    )


def _context(snapshot: Snapshot) -> struct_pb2.Struct:
    """Return what the script that reads names has to know."""
    context = struct_pb2.Struct()
    context.update(
        {
            split.model: {"slots": list(split.slots), "up_to_percent": list(split.up_to_percent)}
            for split in snapshot.splits
        }
    )
    if snapshot.cuts != UNCUT:
        context.update({CUT: True})
    return context
