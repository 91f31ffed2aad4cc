"""What a process shows of itself: metrics, health, spans and logs, over real sockets."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.parser import text_string_to_metric_families

from servemesh.errors import UnavailableError
from servemesh.observe import metrics, names, traces
from servemesh.observe.calls import calls_of
from servemesh.observe.endpoint import exposing
from servemesh.observe.otlp import SHUTDOWN_S
from servemesh.observe.setup import setup
from tests.harness.otlp_collector import metrics_of, serving_otlp, spans_of


class OneNumber:
    def collect(self) -> Iterator[Metric]:
        yield GaugeMetricFamily("nv_test_number", "a number of another's making", value=7)


class CallWithoutTrace:
    def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
        return ()


@contextmanager
def collector() -> Iterator[tuple[str, list[dict[str, Any]], list[dict[str, Any]]]]:
    """Take OTLP; yield the endpoint, and the metrics and spans that came."""
    numbers: list[dict[str, Any]] = []
    spans: list[dict[str, Any]] = []
    with serving_otlp(
        lambda request, _: numbers.extend(metrics_of(request)),
        lambda request, _: spans.extend(spans_of(request)),
    ) as address:
        yield f"http://{address}", numbers, spans


class OneRegistry:
    def collect(self) -> Iterator[Metric]:
        yield metrics.gauged(names.REGISTRY_WORKERS, {(): 3})


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, Path]:
    """The key of a certificate for localhost, and the file of that."""
    folder = tmp_path_factory.mktemp("certificate")
    made = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
    names_too = ["-addext", "subjectAltName=DNS:localhost", "-keyout", "key.pem", "-out", "certificate.pem"]
    subprocess.run(["openssl", *made.split(), *names_too], cwd=folder, check=True, capture_output=True)
    return (folder / "key.pem").read_bytes(), folder / "certificate.pem"


EXPORTS_ONCE = """
import asyncio, sys
from servemesh.observe.setup import setup

async def main():
    async with setup("worker", instance="w1", otlp_endpoint=sys.argv[1]):
        pass

asyncio.run(main())
"""


@pytest.mark.parametrize("is_trusted", [True, False])
def test_over_tls_only_a_collector_with_a_trusted_certificate_gets_anything(
    certificate: tuple[bytes, Path], is_trusted: bool
):
    key, file = certificate
    got: list[object] = []
    credentials = grpc.ssl_server_credentials([(key, file.read_bytes())])
    environment = dict(os.environ)
    if is_trusted:
        environment["GRPC_DEFAULT_SSL_ROOTS_FILE_PATH"] = str(file)
    with serving_otlp(lambda *call: got.append(call), lambda *call: None, credentials) as address:
        endpoint = "https://localhost:" + address.rpartition(":")[2]
        subprocess.run(
            [sys.executable, "-c", EXPORTS_ONCE, endpoint], env=environment, check=True, timeout=20
        )
    assert bool(got) == is_trusted


def get(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


async def test_a_process_shows_its_metrics_and_its_health():
    async with setup("worker", instance="w1") as observation:
        calls_of("/test.Shown/Call").ended(calls_of("/test.Shown/Call").started())
        url = f"http://{observation.metrics_address}"
        status, text = await asyncio.to_thread(get, f"{url}/metrics")
        healthy, body = await asyncio.to_thread(get, f"{url}/healthz")
        missing, _ = await asyncio.to_thread(get, f"{url}/etc/passwd")
    assert (status, healthy, missing) == (200, 200, 404)
    assert json.loads(body)["loop_lag_s"] < 5
    families = {family.name: family for family in text_string_to_metric_families(text)}
    samples = {
        (s.name, s.labels.get("method")): s.value for s in families["servemesh_rpc_server_calls"].samples
    }
    assert samples["servemesh_rpc_server_calls_total", "/test.Shown/Call"] == 1
    assert "servemesh_rpc_server_duration_seconds" in families
    assert "process_resident_memory_bytes" in families


def test_a_loop_that_hangs_is_reported_by_the_thread_beside_it():
    with exposing("127.0.0.1:0", lambda: 60.0) as address:
        status, body = get(f"http://{address}/healthz")
    assert (status, json.loads(body)) == (503, {"loop_lag_s": 60.0})


def test_a_taken_metrics_port_is_a_clear_error():
    with (
        exposing("127.0.0.1:0", lambda: 0.0) as address,
        pytest.raises(UnavailableError, match=address),
        exposing(address, lambda: 0.0),
    ):
        pass


def test_collectors_of_others_are_shown_for_the_length_of_their_block():
    with metrics.collecting(OneNumber()):
        assert b"nv_test_number 7.0" in metrics.exposition()
    assert b"nv_test_number" not in metrics.exposition()


def test_every_metric_name_follows_the_rule():
    declared = [value for value in vars(names).values() if isinstance(value, names.Metric)]
    assert declared
    for metric in declared:
        parts = metric.name.split(".")
        assert parts[0] in ("servemesh", "envoy", "nv"), metric.name
        assert not metric.name.endswith(("_s", "_ms", "_bytes", "_seconds", "_total")), metric.name
    assert len({metric.name for metric in declared}) == len(declared)


async def test_a_collector_that_is_down_does_not_hold_up_the_end():
    async with setup("worker", instance="w1", otlp_endpoint="http://127.0.0.1:9", sample_ratio=1.0):
        with traces.server_span("/a.B/C", CallWithoutTrace()):
            pass
        began_s = time.monotonic()
    assert time.monotonic() - began_s < 3 * SHUTDOWN_S


async def test_a_collector_gets_spans_and_metrics():
    with collector() as (endpoint, numbers, spans):
        async with setup("worker", instance="w1", otlp_endpoint=endpoint, sample_ratio=1.0):
            with traces.server_span("/a.B/C", CallWithoutTrace()):
                pass
    assert [(span["service"], span["name"]) for span in spans] == [("servemesh-worker", "a.B/C")]
    assert ("servemesh-worker", "servemesh.process.loop.lag") in {tuple(item.values()) for item in numbers}


async def test_what_was_counted_until_the_end_is_sent():
    with collector() as (endpoint, numbers, _):
        async with setup("worker", instance="w1", otlp_endpoint=endpoint):
            with metrics.collecting(OneRegistry()):
                pass
    assert "servemesh.registry.workers" in {item["name"] for item in numbers}
