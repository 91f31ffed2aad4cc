"""perf_analyzer, unmodified, against the mesh's public address and against a worker."""

from __future__ import annotations

import re

import pytest

from tests.harness.perf_analyzer import NotToBeHadError, PerfAnalyzer, fetched


@pytest.fixture(scope="session")
def perf_analyzer() -> PerfAnalyzer:
    """The program, or a loud skip where it cannot be fetched."""
    try:
        return fetched()
    except NotToBeHadError as error:
        pytest.skip(f"perf_analyzer cannot be had: {error}")


def measured(perf_analyzer: PerfAnalyzer, address: str, *words: str) -> list[float]:
    """Return the calls per second that it measured at each concurrency."""
    answer = perf_analyzer.run(
        *("-m", "digits", "-i", "grpc", "-u", address, *words),
        *("--measurement-mode", "count_windows", "--measurement-request-count", "200"),
        *("--stability-percentage", "999", "--max-trials", "3"),
        timeout_s=110,
    )
    assert answer.returncode == 0, answer.stdout[-3000:]
    assert "error" not in answer.stdout.lower(), answer.stdout[-3000:]
    return [float(rate) for rate in re.findall(r"throughput: ([\d.]+) infer/sec", answer.stdout)]


@pytest.mark.timeout(300)
def test_concurrency_of_1_and_of_64(perf_analyzer: PerfAnalyzer, oip_address: str):
    rates = measured(perf_analyzer, oip_address, "--concurrency-range", "1:64:63")
    assert len(rates) == 2
    assert all(rate > 0 for rate in rates)


@pytest.mark.timeout(300)
def test_streaming(perf_analyzer: PerfAnalyzer, oip_address: str):
    rates = measured(perf_analyzer, oip_address, "--streaming", "--async", "--concurrency-range", "4:4")
    assert rates
    assert rates[-1] > 0


@pytest.mark.timeout(300)
def test_batches(perf_analyzer: PerfAnalyzer, oip_address: str):
    rates = measured(perf_analyzer, oip_address, "-b", "8", "--concurrency-range", "8:8")
    assert rates[-1] > 0
