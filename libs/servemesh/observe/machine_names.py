"""Names of what machines and Envoy tell: the part of observe/names.py that is not about our own processes."""

from __future__ import annotations

from servemesh.observe.naming import BYTES, CELSIUS, WATTS
from servemesh.observe.naming import metric as _metric

# --- every node ------------------------------------------------------------------------------------
HOST_CPU_BUSY = _metric(
    "servemesh.host.cpu.busy", "Share of all processors' time that was used, 0 to 1.", "host"
)
HOST_PROCESSORS = _metric("servemesh.host.processors", "Processors.", "host")
HOST_MEMORY_USED = _metric("servemesh.host.memory.used", "Memory that is not available.", "host", unit=BYTES)
HOST_MEMORY_MAX = _metric("servemesh.host.memory.max", "Memory there is.", "host", unit=BYTES)
HOST_DISK_USED = _metric(
    "servemesh.host.disk.used", "Used of the disk that the process keeps its data on.", "host", unit=BYTES
)
HOST_DISK_MAX = _metric("servemesh.host.disk.max", "Size of that disk.", "host", unit=BYTES)
HOST_NETWORK_RECEIVED = _metric(
    "servemesh.host.network.received", "Received by all interfaces.", "host", unit=BYTES
)
HOST_NETWORK_SENT = _metric("servemesh.host.network.sent", "Sent by all interfaces.", "host", unit=BYTES)
GPU_BUSY = _metric("servemesh.gpu.busy", "Share of the time in which a kernel ran, 0 to 1.", "host", "gpu")
GPU_MEMORY_USED = _metric("servemesh.gpu.memory.used", "Memory used.", "host", "gpu", unit=BYTES)
GPU_MEMORY_MAX = _metric("servemesh.gpu.memory.max", "Memory there is.", "host", "gpu", unit=BYTES)
GPU_POWER = _metric("servemesh.gpu.power", "Power drawn.", "host", "gpu", unit=WATTS)
GPU_TEMPERATURE = _metric("servemesh.gpu.temperature", "Temperature.", "host", "gpu", unit=CELSIUS)
GPU_ECC_ERRORS = _metric(
    "servemesh.gpu.ecc.errors",
    "Memory errors since the driver started: `kind` is corrected or uncorrected.",
    "host",
    "gpu",
    "kind",
)

READY = "ready"  # with address and metrics_address: the process serves; supervisors wait for this line
DRAINING = "draining"
STOPPED = "stopped"
OTLP_FAILED = "otlp.failed"  # the collector takes nothing; said once per outage
OTLP_BACK = "otlp.back"
LIBRARY = "library"  # with text: what a library that we use has to say
NATS_CONNECTED = "nats.connected"
NATS_LOST = "nats.lost"
NATS_CONNECT_FAILED = "nats.connect_failed"  # with cause
NATS_CLOSE_FAILED = "nats.close_failed"  # with cause
NATS_ERROR = "nats.error"  # with cause
NATS_CONSUMER_INTERRUPTED = "nats.consumer_interrupted"  # with cause

# --- Envoy's own statistics, which it sends itself -------------------------------------------------
ENVOY_CALLS = _metric(
    "envoy.calls", "Calls for workers that ended, by the status that the client got.", "code"
)
ENVOY_RETRIES = _metric("envoy.retries", "Attempts at workers that failed and were tried again elsewhere.")
ENVOY_RETRIES_SUCCEEDED = _metric("envoy.retries.succeeded", "Of these, calls that were then answered.")
ENVOY_RETRIES_DENIED = _metric(
    "envoy.retries.denied", "Attempts that failed while the retry budget was used up."
)
ENVOY_EJECTIONS = _metric("envoy.ejections", "How often a worker was ejected for its failures.")
ENVOY_EJECTED = _metric("envoy.ejected", "Workers that are ejected now.")
ENVOY_HEALTH_FAILURES = _metric("envoy.health.failures", "Health checks of workers that failed.")
ENVOY_WORKERS_HEALTHY = _metric(
    "envoy.workers.healthy", "Workers, and gateways as activators, that take calls."
)
ENVOY_WORKERS = _metric("envoy.workers", "Workers, and gateways as activators, that are known.")
ENVOY_REQUESTS_ACTIVE = _metric("envoy.requests.active", "Calls in flight to workers.")
ENVOY_OVERFLOWS = _metric(
    "envoy.requests.overflows", "Calls refused because too many were in flight or waiting."
)
ENVOY_CONNECT_FAILURES = _metric("envoy.connect.failures", "Connections to workers that could not be opened.")
ENVOY_CONNECTIONS = _metric("envoy.connections", "Connections of clients.")
ENVOY_CONNECTIONS_OPENED = _metric("envoy.connections.opened", "Connections that clients have opened.")
ENVOY_RECEIVED = _metric("envoy.bytes.received", "Bytes received from clients.")
ENVOY_SENT = _metric("envoy.bytes.sent", "Bytes sent to clients.")
