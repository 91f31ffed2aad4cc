"""What a name of a metric stands for, and what names are made of."""

from __future__ import annotations

from dataclasses import dataclass

SECONDS, BYTES, WATTS, CELSIUS = "seconds", "bytes", "watts", "celsius"
CALL_BUCKETS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
JOB_BUCKETS_S = (1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3_600.0, 14_400.0, 86_400.0)
ROWS_BUCKETS = tuple(float(1 << power) for power in range(13))


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A metric `servemesh.<part>.<noun>.<measure>`; Prometheus sees it with underscores and its unit."""

    name: str
    help: str
    labels: tuple[str, ...] = ()
    unit: str = ""
    buckets: tuple[float, ...] = CALL_BUCKETS_S

    @property
    def leaves(self) -> bool:
        """Whether it is sent over OTLP: Triton's say again, in Triton's units, what ours say."""
        return not self.name.startswith("nv.")


def metric(
    name: str, help: str, *labels: str, unit: str = "", buckets: tuple[float, ...] = CALL_BUCKETS_S
) -> Metric:
    """Return a metric; of histograms `buckets` are what Prometheus sees."""
    return Metric(name=name, help=help, labels=labels, unit=unit, buckets=buckets)
