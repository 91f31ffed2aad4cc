"""Every name that leaves a process in its metrics, spans and logs. Dashboards and alerts stand on these."""

from __future__ import annotations

from servemesh.observe.machine_names import *  # noqa: F403
from servemesh.observe.naming import *  # noqa: F403
from servemesh.observe.naming import BYTES, JOB_BUCKETS_S, ROWS_BUCKETS, SECONDS
from servemesh.observe.naming import metric as _metric

# --- rpc -------------------------------------------------------------------------------------------
RPC_SERVER_CALLS = _metric("servemesh.rpc.server.calls", "Calls answered.", "method", "code")
RPC_SERVER_DURATION = _metric(
    "servemesh.rpc.server.duration", "Time from a call's first byte to its status.", "method", unit=SECONDS
)
RPC_SERVER_IN_FLIGHT = _metric("servemesh.rpc.server.in_flight", "Calls being worked on.", "method")

RPC_FAILED = "rpc.failed"  # with error_id and the exception: a bug, or something we should have expected
RPC_INTERRUPTED = "rpc.interrupted"  # with calls: calls that were still running when the grace was over

# --- every process ---------------------------------------------------------------------------------
PROCESS_INFO = _metric("servemesh.process.info", "Which process this is; always 1.", "service", "instance")
PROCESS_LOOP_LAG = _metric("servemesh.process.loop.lag", "How late the event loop is.", unit=SECONDS)
PROCESS_TASKS = _metric("servemesh.process.tasks", "Tasks of the event loop.")
PROCESS_CHANNELS = _metric("servemesh.process.channels", "gRPC channels to other processes.")
PROCESS_LOGS_DROPPED = _metric("servemesh.process.logs.dropped", "Log lines lost because nobody read stderr.")
PROCESS_TELEMETRY_DROPPED = _metric(
    "servemesh.process.telemetry.dropped",
    "Messages with metrics, and spans, lost because the collector did not take them: `signal` is metrics or spans.",
    "signal",
)
PROCESS_CPU = _metric("servemesh.process.cpu", "Processor time used.", unit=SECONDS)
PROCESS_MEMORY = _metric("servemesh.process.memory", "Resident memory.", unit=BYTES)

# --- worker ----------------------------------------------------------------------------------------
WORKER_SLOTS = _metric("servemesh.worker.slots", "Slots, by state.", "state")
WORKER_SLOT_MEMORY = _metric(
    "servemesh.worker.slot.memory", "Memory that a resident Version takes.", "model", "version", unit=BYTES
)
WORKER_MEMORY_MAX = _metric(
    "servemesh.worker.memory.max", "Memory that resident Versions may take.", unit=BYTES
)
WORKER_CACHE_USED = _metric("servemesh.worker.cache.used", "Disk that verified artifacts take.", unit=BYTES)
WORKER_CACHE_MAX = _metric("servemesh.worker.cache.max", "Disk that artifacts may take.", unit=BYTES)
WORKER_LEASE_AGE = _metric(
    "servemesh.worker.lease.age", "Time since the registry last renewed this worker's lease.", unit=SECONDS
)
WORKER_CALLS = _metric(
    "servemesh.worker.calls",
    "Calls that found the Version, by outcome: answered, failed, or refused for the caller's mistake.",
    "model",
    "version",
    "outcome",
)
WORKER_CALL_DURATION = _metric(
    "servemesh.worker.call.duration",
    "Time from a call's arrival in the queue to its answer.",
    "model",
    "version",
    unit=SECONDS,
)
WORKER_BATCH_ROWS = _metric(
    "servemesh.worker.batch.rows", "Rows that ran together.", "model", "version", buckets=ROWS_BUCKETS
)
WORKER_BATCH_DURATION = _metric(
    "servemesh.worker.batch.duration",
    "Time from the first input of a batch to its last output.",
    "model",
    "version",
    unit=SECONDS,
)
WORKER_QUEUE_DURATION = _metric(
    "servemesh.worker.queue.duration",
    "Time that calls waited for a batch, in all.",
    "model",
    "version",
    unit=SECONDS,
)
WORKER_QUEUE_ROWS = _metric("servemesh.worker.queue.rows", "Rows that wait for a run.", "model", "version")
WORKER_FEATURE_VALUES = _metric(
    "servemesh.worker.feature.values",
    "Sampled values of a feature of an input or output, where drift is watched; never rows.",
    "model",
    "version",
    "tensor",
    "feature",
    "kind",
)

SPAN_QUEUE = "worker.queue"  # a call waits for its batch
SPAN_BATCH = "worker.batch"  # calls run together; linked to each of them
SPAN_RUN = "worker.run"  # the runtime computes

ASSIGNED = "assigned"  # with revision and versions: what this worker is to hold
SLOT_READY = "slot.ready"
SLOT_UNLOADED = "slot.unloaded"
SLOT_FAILED = "slot.failed"  # with version, reason, detail
SLOT_DRAIN_TIMEOUT = "slot.drain_timeout"  # calls were still running when the wait for them was over
WARMUP_FAILED = "warmup.failed"  # the model refuses zeros; it is served all the same
WARMUP_NOT_BATCHABLE = "warmup.not_batchable"  # rows do not come back one for one: calls run one at a time
PROVIDER_UNAVAILABLE = "provider.unavailable"  # with asked and got: which onnxruntime providers there are
CRASHED_BEFORE = "crashed_before"  # with running, fault: what the process before this one died of
WORKER_CONDEMNED = "worker.condemned"  # with version, cause: a model holds this process, which ends for it
REGISTRY_AWAY = "registry.away"
REGISTRY_BACK = "registry.back"
LEASE_SUPERSEDED = "lease.superseded"  # a newer process has this worker's name: this one ends
CACHE_WRITE_FAILED = "cache.write_failed"

# --- what Triton's tools look for, under Triton's names --------------------------------------------
TRITON_SUCCESS = _metric("nv.inference.request_success", "Calls answered.", "model", "version")
TRITON_FAILURE = _metric("nv.inference.request_failure", "Calls failed.", "model", "version")
TRITON_COUNT = _metric("nv.inference.count", "Rows that ran.", "model", "version")
TRITON_EXEC_COUNT = _metric("nv.inference.exec_count", "Batches that ran.", "model", "version")
TRITON_PENDING = _metric("nv.inference.pending_request_count", "Calls that wait.", "model", "version")
TRITON_REQUEST_US = _metric(
    "nv.inference.request_duration_us", "Time of answered calls, in all.", "model", "version"
)
TRITON_QUEUE_US = _metric(
    "nv.inference.queue_duration_us", "Time that calls waited, in all.", "model", "version"
)
TRITON_INPUT_US = _metric(
    "nv.inference.compute_input_duration_us", "Time to bring inputs together, in all.", "model", "version"
)
TRITON_INFER_US = _metric(
    "nv.inference.compute_infer_duration_us", "Time that the runtime took, in all.", "model", "version"
)
TRITON_OUTPUT_US = _metric(
    "nv.inference.compute_output_duration_us", "Time to take outputs apart, in all.", "model", "version"
)

# --- registry --------------------------------------------------------------------------------------
REGISTRY_WORKERS = _metric("servemesh.registry.workers", "Workers that have a lease.")
REGISTRY_LEASE_AGE = _metric(
    "servemesh.registry.lease.age", "Time since the last renewal.", "worker", unit=SECONDS
)
REGISTRY_UNPLACED = _metric(
    "servemesh.registry.versions.unplaced", "Versions that lack a place, by reason.", "reason"
)
REGISTRY_REVISION = _metric(
    "servemesh.registry.assignment.revision", "Revision of the newest assignment made here."
)
REGISTRY_EVENTS_WAITING = _metric(
    "servemesh.registry.events.waiting", "Facts that the broker has not confirmed: the outbox's backlog."
)
REGISTRY_EVENTS_SENT = _metric("servemesh.registry.events.sent", "Facts that the broker has confirmed.")

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
ADMISSION_CRASHED = "admission.crashed"  # with status and detail
UPLOADS_SWEEP_FAILED = "uploads.sweep_failed"  # with reason

# --- optimizer -------------------------------------------------------------------------------------
OPTIMIZER_JOBS_OPEN = _metric(
    "servemesh.optimizer.jobs.open", "Jobs of all optimizers that have not ended, by their database."
)
OPTIMIZER_JOBS_RUNNING = _metric("servemesh.optimizer.jobs.running", "Jobs that this optimizer works on.")
OPTIMIZER_JOBS_ENDED = _metric("servemesh.optimizer.jobs.ended", "Jobs that ended here.", "kind", "state")
OPTIMIZER_JOB_DURATION = _metric(
    "servemesh.optimizer.job.duration",
    "Time from a job's first start to its end.",
    "kind",
    unit=SECONDS,
    buckets=JOB_BUCKETS_S,
)
OPTIMIZER_FACTS_SENT = _metric("servemesh.optimizer.facts.sent", "Facts that the broker has confirmed.")

JOB_TAKEN = "job.taken"  # with job, epoch
JOB_LEFT = "job.left"  # with job, epoch, state, reason: ended, or given back to be taken again
JOB_LOST = "job.lost"  # with job, epoch: this process was too slow, and another one has the job
JOB_CRASHED = "job.crashed"  # with job, error_id and the exception: a bug
FACTS_WAITING = "facts.waiting"  # with reason: the broker is away; facts wait in the database
WAKE_UPS_LOST = "wake_ups.lost"  # with reason: jobs are found by looking for them until messages come again
OPTIMIZER_SWEPT = "optimizer.swept"  # with jobs, sources, blobs: what nobody needs any more is deleted
OPTIMIZER_SWEEP_FAILED = "optimizer.sweep_failed"  # with reason
CHILD_ENDED_BADLY = "child.ended_badly"  # with subject, status, verdict, detail: a step that left no result
PASS_LOST = "pass.lost"  # with reason: the store has an output no more, or damaged; it is made again
PASSES_SWEEP_WAITING = "passes.sweep_waiting"  # with reason
PASSES_SWEPT = "passes.swept"  # with count: results of steps that are too old or too many are deleted

# --- gateway: the edge -----------------------------------------------------------------------------
GATEWAY_XDS_REFUSALS = _metric(
    "servemesh.gateway.xds.refusals", "Tables that an Envoy did not take (NACKs).", "type"
)
GATEWAY_XDS_STREAMS = _metric("servemesh.gateway.xds.streams", "Envoys that are connected.")
GATEWAY_SNAPSHOT_REVISION = _metric(
    "servemesh.gateway.snapshot.revision", "Snapshots of the edge made since the start."
)
GATEWAY_FLEET_WORKERS = _metric("servemesh.gateway.fleet.workers", "Workers in the table.")

SPAN_ACTIVATION = "gateway.activation"  # a call waits for its model to be loaded somewhere

XDS_REFUSED = "xds.refused"  # with type_url, version and detail, Envoy's own words: a bug of the gateway
XDS_CONNECTED = "xds.connected"
XDS_DISCONNECTED = "xds.disconnected"
BUS_AWAY = "bus.away"
BUS_BACK = "bus.back"
ANNOUNCEMENT_MALFORMED = "announcement.malformed"
GATEWAYS_MOVED = "gateways.moved"  # with gateways: where they are now
STATE_NOT_KEPT = "state.not_kept"  # with reason: the disk does not take what is to outlive the process
STATE_UNREADABLE = "state.unreadable"  # what an earlier start kept is left aside

# --- metrics: what comes in, and the store ---------------------------------------------------------
METRICS_POINTS_STORED = _metric("servemesh.metrics.points.stored", "Points that are in the store.")
METRICS_POINTS_DROPPED = _metric(
    "servemesh.metrics.points.dropped", "Points that came and are not stored, by reason.", "reason"
)
METRICS_POINTS_FOLDED = _metric(
    "servemesh.metrics.points.folded",
    "Streams whose points go to `other`, because there are as many series as there may be.",
)
METRICS_LABELS_DROPPED = _metric(
    "servemesh.metrics.labels.dropped", "Labels of new streams that are not among those that are kept."
)
METRICS_FORWARD_DROPPED = _metric(
    "servemesh.metrics.forward.dropped",
    "Requests that the Collector, to which they are sent on, did not take.",
)
METRICS_SPANS_STORED = _metric("servemesh.metrics.spans.stored", "Spans that were stored.")
METRICS_SPANS_DROPPED = _metric("servemesh.metrics.spans.dropped", "Spans that came and are not stored.")
METRICS_INGEST_WAITING = _metric(
    "servemesh.metrics.ingest.waiting", "Encoded points that are not on disk yet.", unit=BYTES
)
METRICS_STREAMS = _metric("servemesh.metrics.streams", "Streams of points that are remembered.")
METRICS_SERIES = _metric("servemesh.metrics.series", "Series in the store.")
METRICS_SERIES_MAX = _metric("servemesh.metrics.series.max", "Series there may be.")
METRICS_STORE_SIZE = _metric("servemesh.metrics.store.size", "Disk that the store uses.", unit=BYTES)
METRICS_STORE_SIZE_MAX = _metric("servemesh.metrics.store.max", "Disk that the store may use.", unit=BYTES)
METRICS_STORE_DURATION = _metric(
    "servemesh.metrics.store.duration",
    "Time that the store took: `work` is append, roll_up, retain or read.",
    "work",
    unit=SECONDS,
)

METRICS_STORE_FAILED = "metrics_store.failed"  # with reason: points wait until the store takes them again
METRICS_STORE_TRIMMED = (
    "metrics_store.trimmed"  # with resolution, until: it was too large, the oldest are deleted
)
METRICS_EXPORTED = "metrics.exported"  # with key, size_bytes: roll-ups are in the object store as parquet
FORECAST_FAILED = "forecast.failed"  # with cause: the child that makes forecasts did not
METRICS_EXPORT_WAITING = "metrics.export_waiting"  # with reason

# --- metrics: alerts and reports ------------------------------------------------------------------
METRICS_ALERTS_OPEN = _metric("servemesh.metrics.alerts.open", "Alerts that have not ended.", "state")
METRICS_ALERTS_IGNORED = _metric(
    "servemesh.metrics.alerts.ignored",
    "Conditions that hold and became no alert, because there were too many.",
)
METRICS_RULES_DURATION = _metric(
    "servemesh.metrics.rules.duration", "Time that the last look at all rules took.", unit=SECONDS
)
METRICS_RULES_FAILED = _metric("servemesh.metrics.rules.failed", "Rules that could not be looked at.", "rule")
METRICS_DELIVERIES = _metric(
    "servemesh.metrics.deliveries",
    "Attempts to deliver alerts: taken, retried or lost.",
    "channel",
    "outcome",
)
METRICS_DELIVERIES_LOST = _metric(
    "servemesh.metrics.deliveries.lost", "Deliveries given up: too old, or too many.", "channel"
)
METRICS_REPORTS = _metric("servemesh.metrics.reports", "Reports written or failed.", "kind", "outcome")

ALERT_FIRING = "alert.firing"  # with alert, rule, severity, labels, text, runbook
ALERT_RESOLVED = "alert.resolved"  # likewise
ALERTS_WAITING = "alerts.waiting"  # with reason: what is kept of alerts cannot be read or written now
ALERTS_IGNORED = "alerts.ignored"  # with count
RULE_FAILED = "rule.failed"  # with rule, reason: it could not be looked at this time
DELIVERY_FAILED = "delivery.failed"  # with channel, group, reason, outcome: retried or lost
DELIVERIES_TRIMMED = "deliveries.trimmed"  # with count: the outbox was full
REPORT_WRITTEN = "report.written"  # with report, size_bytes
REPORT_WAITING = "report.waiting"  # with report, reason: it is tried again
REPORT_NO_PDF = "report.no_pdf"  # with cause: the renderer failed; the report has no PDF
REPORTS_SWEPT = "reports.swept"  # with count: files that no report has any more are deleted

# --- the local mesh's supervisor -------------------------------------------------------------------
LOCAL_UP = _metric("servemesh.local.process.up", "Whether the process gave its metrics.", "process")
LOCAL_RESTARTS = _metric("servemesh.local.process.restarts", "How often it was started again.", "process")
LOCAL_MEMORY = _metric("servemesh.local.process.memory", "Resident memory.", "process", unit=BYTES)
LOCAL_CPU = _metric("servemesh.local.process.cpu", "Processor time used.", "process", unit=SECONDS)

MESH_STATE = "mesh.state"  # with state
MESH_SCALED = "mesh.scaled"  # with workers, needed: another number of workers is to run
PROCESS_DIED = "process.died"  # with process_name, exit_code, ready
PROCESS_LATE = "process.late"  # with process_name: it was told to end, had not done so in time and was killed
PROCESS_HANGS = "process.hangs"  # with process_name: it lives, but no longer answers, and was killed
PROCESS_UNREADY = "process.unready"  # with process_name: it was not ready in time and was killed
PORTS_TAKEN = "ports.taken"  # with process_name, ports: the mesh is started again with others
PROCESS_OUTPUT = "process.output"  # with text: a line of a process that does not log as JSON
