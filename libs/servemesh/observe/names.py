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

# --- worker ----------------------------------------------------------------------------------------
WORKER_SLOTS = Metric(name="servemesh.worker.slots", help="Slots, by state.", labels=("state",))
WORKER_SLOT_MEMORY = Metric(
    name="servemesh.worker.slot.memory",
    help="Memory that a resident Version takes.",
    labels=("model", "version"),
    unit=BYTES,
)
WORKER_MEMORY_MAX = Metric(
    name="servemesh.worker.memory.max", help="Memory that resident Versions may take.", unit=BYTES
)
WORKER_CACHE_USED = Metric(
    name="servemesh.worker.cache.used", help="Disk that verified artifacts take.", unit=BYTES
)
WORKER_CALLS = Metric(
    name="servemesh.worker.calls",
    help="Calls that were run, by outcome: answered or failed.",
    labels=("model", "version", "outcome"),
)
WORKER_BATCH_ROWS = Metric(
    name="servemesh.worker.batch.rows",
    help="Rows that ran together.",
    labels=("model", "version"),
    buckets=tuple(float(1 << power) for power in range(13)),
)
WORKER_BATCH_DURATION = Metric(
    name="servemesh.worker.batch.duration",
    help="Time from the first input of a batch to its last output.",
    labels=("model", "version"),
    unit=SECONDS,
)
WORKER_QUEUE_DURATION = Metric(
    name="servemesh.worker.queue.duration",
    help="Time that calls waited for a batch, in all.",
    labels=("model", "version"),
    unit=SECONDS,
)

# Log events of the worker.
ASSIGNED = "assigned"  # with revision and versions: what this worker is to hold
SLOT_READY = "slot.ready"
SLOT_UNLOADED = "slot.unloaded"
SLOT_FAILED = "slot.failed"  # with version, reason, detail
SLOT_DRAIN_TIMEOUT = "slot.drain_timeout"  # calls were still running when the wait for them was over
WARMUP_FAILED = "warmup.failed"  # the model refuses zeros; it is served all the same
WARMUP_NOT_BATCHABLE = "warmup.not_batchable"  # rows do not come back one for one: calls run one at a time
CRASHED_BEFORE = "crashed_before"  # with running, fault: what the process before this one died of
REGISTRY_AWAY = "registry.away"
REGISTRY_BACK = "registry.back"
LEASE_SUPERSEDED = "lease.superseded"  # a newer process has this worker's name: this one ends
CACHE_WRITE_FAILED = "cache.write_failed"

# --- registry --------------------------------------------------------------------------------------
REGISTRY_WORKERS = Metric(name="servemesh.registry.workers", help="Workers that have a lease.")
REGISTRY_UNPLACED = Metric(
    name="servemesh.registry.versions.unplaced",
    help="Versions that lack a place, by reason.",
    labels=("reason",),
)
REGISTRY_REVISION = Metric(
    name="servemesh.registry.assignment.revision", help="Revision of the newest assignment made here."
)
REGISTRY_EVENTS_WAITING = Metric(
    name="servemesh.registry.events.waiting", help="Facts that the broker has not confirmed."
)
REGISTRY_EVENTS_SENT = Metric(
    name="servemesh.registry.events.sent", help="Facts that the broker has confirmed."
)

# Log events of the registry.
STORE_WAITING = "store.waiting"  # the database cannot be opened yet; with reason
STORE_FAILED = "store.failed"  # with cause
STORE_WRITE_CONFLICT = "store.write_conflict"
STORE_NOT_DURABLE = "store.not_durable"  # with setting: PostgreSQL is set to lose acknowledged changes
LEASES_FAILED = "leases.failed"
LEASE_EXPIRED = "lease.expired"  # with worker: it was silent for a whole lease
PLACEMENT_FAILED = "placement.failed"
RELAY_WAITING = "relay.waiting"  # the broker or the database is away; facts wait in the outbox
RELAY_HISTORY_LOST = "relay.history_lost"  # with republished: the broker lost facts it had confirmed
RETENTION_FAILED = "retention.failed"
BLOBS_COLLECTED = "blobs.collected"  # with count: blobs that nothing needed any more are deleted
BLOBS_COLLECT_WAITING = "blobs.collect_waiting"  # with reason
BUCKET_WAITING = "bucket.waiting"

# --- gateway: the edge -----------------------------------------------------------------------------
GATEWAY_XDS_REFUSALS = Metric(
    name="servemesh.gateway.xds.refusals", help="Tables that an Envoy did not take.", labels=("type",)
)
GATEWAY_XDS_STREAMS = Metric(name="servemesh.gateway.xds.streams", help="Envoys that are connected.")
GATEWAY_FLEET_WORKERS = Metric(name="servemesh.gateway.fleet.workers", help="Workers in the table.")

# Log events of the edge.
XDS_REFUSED = "xds.refused"  # with type_url, version and detail, Envoy's own words: a bug of the gateway
XDS_CONNECTED = "xds.connected"
XDS_DISCONNECTED = "xds.disconnected"
BUS_AWAY = "bus.away"
BUS_BACK = "bus.back"
ANNOUNCEMENT_MALFORMED = "announcement.malformed"
STATE_NOT_KEPT = "state.not_kept"  # the gateway's state folder does not take what it should keep
STATE_UNREADABLE = "state.unreadable"  # what an earlier start kept is left aside
