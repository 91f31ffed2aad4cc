"""Every name that leaves a process in its metrics, spans and logs. Dashboards and alerts stand on these."""

from __future__ import annotations

from dataclasses import dataclass

SECONDS, BYTES = "seconds", "bytes"
CALL_BUCKETS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A metric `servemesh.<part>.<noun>.<measure>`; Prometheus sees it with underscores and its unit."""

    name: str
    help: str
    labels: tuple[str, ...] = ()
    unit: str = ""
    buckets: tuple[float, ...] = CALL_BUCKETS_S


# --- rpc -------------------------------------------------------------------------------------------
RPC_SERVER_CALLS = Metric(
    name="servemesh.rpc.server.calls", help="Calls answered, by method and code.", labels=("method", "code")
)
RPC_SERVER_DURATION = Metric(
    name="servemesh.rpc.server.duration",
    help="Time from the first byte of a call to its status, by method.",
    labels=("method",),
    unit=SECONDS,
)
RPC_SERVER_IN_FLIGHT = Metric(
    name="servemesh.rpc.server.in_flight", help="Calls being worked on, by method.", labels=("method",)
)

# --- the process -----------------------------------------------------------------------------------
PROCESS_LOOP_LAG = Metric(
    name="servemesh.process.loop.lag", help="How late the event loop is, at most.", unit=SECONDS
)
PROCESS_LOGS_DROPPED = Metric(
    name="servemesh.process.logs.dropped", help="Log lines lost because stderr was not read."
)
PROCESS_INFO = Metric(
    name="servemesh.process.info", help="Which process this is; always 1.", labels=("service", "instance")
)

# --- log events ------------------------------------------------------------------------------------
READY = "ready"  # with address and metrics_address: the process serves; supervisors wait for this line
DRAINING = "draining"
STOPPED = "stopped"
RPC_FAILED = "rpc.failed"  # with error_id and the exception: a bug, or something we should have expected
RPC_INTERRUPTED = "rpc.interrupted"  # with calls: calls that were still running when the grace was over
OTLP_FAILED = "otlp.failed"
