"""Which of Envoy's statistics leave it as OTLP, and under which names; all others stay on its own page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import grpc
from envoy.config.core.v3 import extension_pb2, grpc_service_pb2
from envoy.config.metrics.v3 import stats_pb2
from envoy.extensions.matching.common_inputs.stats.v3 import stats_pb2 as inputs_pb2
from envoy.extensions.stat_sinks.open_telemetry.v3 import open_telemetry_pb2
from envoy.extensions.tracers.opentelemetry.resource_detectors.v3 import static_config_resource_detector_pb2
from xds.core.v3 import extension_pb2 as xds_extension_pb2
from xds.type.matcher.v3 import matcher_pb2, regex_pb2, string_pb2

from servemesh.gateway.adapters import xds_values as xds
from servemesh.observe import names
from servemesh.observe.names import Metric

STATISTICS = "statistics"
_WORKERS = r"cluster\.workers[^.]*\."
_DOWN = rf"http\.{xds.EDGE}\.downstream_"


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistic:
    """One metric of ours and the statistics of Envoy that are added up for it."""

    metric: Metric
    pattern: str  # of the whole name
    labels: Mapping[str, str] = field(default_factory=dict)


def statistics() -> Iterator[Statistic]:
    """Yield what leaves."""
    for code in grpc.StatusCode:
        number, name = code.value[0], code.name
        yield Statistic(metric=names.ENVOY_CALLS, pattern=rf"{_WORKERS}grpc\.{number}", labels={"code": name})
    for metric, pattern in (
        (names.ENVOY_RETRIES, rf"{_WORKERS}upstream_rq_retry"),
        (names.ENVOY_RETRIES_SUCCEEDED, rf"{_WORKERS}upstream_rq_retry_success"),
        (names.ENVOY_RETRIES_DENIED, rf"{_WORKERS}upstream_rq_retry_overflow"),
        (names.ENVOY_EJECTIONS, rf"{_WORKERS}outlier_detection\.ejections_enforced_total"),
        (names.ENVOY_EJECTED, rf"{_WORKERS}outlier_detection\.ejections_active"),
        (names.ENVOY_HEALTH_FAILURES, rf"{_WORKERS}health_check\.failure"),
        (names.ENVOY_WORKERS_HEALTHY, rf"{_WORKERS}membership_healthy"),
        (names.ENVOY_WORKERS, rf"{_WORKERS}membership_total"),
        (names.ENVOY_REQUESTS_ACTIVE, rf"{_WORKERS}upstream_rq_active"),
        (names.ENVOY_OVERFLOWS, rf"{_WORKERS}upstream_rq_pending_overflow"),
        (names.ENVOY_CONNECT_FAILURES, rf"{_WORKERS}upstream_cx_connect_fail"),
        (names.ENVOY_CONNECTIONS, rf"{_DOWN}cx_active"),
        (names.ENVOY_CONNECTIONS_OPENED, rf"{_DOWN}cx_total"),
        (names.ENVOY_RECEIVED, rf"{_DOWN}cx_rx_bytes_total"),
        (names.ENVOY_SENT, rf"{_DOWN}cx_tx_bytes_total"),
    ):
        yield Statistic(metric=metric, pattern=pattern)


def statistics_sink(instance: str) -> stats_pb2.StatsSink:
    """Return the sink; Envoy flushes it every five seconds."""
    detector = static_config_resource_detector_pb2.StaticConfigResourceDetectorConfig(
        attributes={
            "service.name": "servemesh-edge",
            "service.namespace": "servemesh",
            "service.instance.id": instance,
        }
    )
    config = open_telemetry_pb2.SinkConfig(
        grpc_service=grpc_service_pb2.GrpcService(
            envoy_grpc=grpc_service_pb2.GrpcService.EnvoyGrpc(cluster_name=STATISTICS)
        ),
        resource_detectors=[
            extension_pb2.TypedExtensionConfig(
                name="envoy.tracers.opentelemetry.resource_detectors.static_config",
                typed_config=xds.packed(detector),
            )
        ],
        # Envoy does not say since when its sums count, and tells of one only once it is over 0: of cumulative ones
        # the first part could not be told from old news.
        report_counters_as_deltas=True,
        # The names of clusters, which are many in a large mesh, would be attributes: without them they are added up.
        emit_tags_as_attributes=xds.flag(False),
        use_tag_extracted_name=xds.flag(False),
        custom_metric_conversions=_matcher(),
    )
    return stats_pb2.StatsSink(name="envoy.stat_sinks.open_telemetry", typed_config=xds.packed(config))


def _matcher() -> matcher_pb2.Matcher:
    matchers = [_matching(statistic) for statistic in statistics()]
    return matcher_pb2.Matcher(
        matcher_list=matcher_pb2.Matcher.MatcherList(matchers=matchers),
        on_no_match=matcher_pb2.Matcher.OnMatch(
            action=_extension("drop", open_telemetry_pb2.SinkConfig.DropAction())
        ),
    )


def _matching(statistic: Statistic) -> matcher_pb2.Matcher.MatcherList.FieldMatcher:
    list_ = matcher_pb2.Matcher.MatcherList
    regex = regex_pb2.RegexMatcher(google_re2=regex_pb2.RegexMatcher.GoogleRE2(), regex=statistic.pattern)
    predicate = list_.Predicate(
        single_predicate=list_.Predicate.SinglePredicate(
            input=_extension("stat_full_name_match_input", inputs_pb2.StatFullNameMatchInput()),
            value_match=string_pb2.StringMatcher(safe_regex=regex),
        )
    )
    conversion = open_telemetry_pb2.SinkConfig.ConversionAction(
        metric_name=statistic.metric.name,
    )
    for key, value in statistic.labels.items():
        conversion.static_metric_labels.add(key=key).value.string_value = value
    return list_.FieldMatcher(
        predicate=predicate, on_match=matcher_pb2.Matcher.OnMatch(action=_extension("convert", conversion))
    )


def _extension(name: str, message: object) -> xds_extension_pb2.TypedExtensionConfig:
    return xds_extension_pb2.TypedExtensionConfig(name=name, typed_config=xds.packed(message))
