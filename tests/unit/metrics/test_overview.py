"""The figures by their definitions in docs/metrics.md, on a store that was filled by hand."""

import math

import pytest

from servemesh.metrics.domain.figures import Figures, Prices
from servemesh.metrics.domain.queries import Window
from servemesh.metrics.service.overview import MeshOverview, Overview, SubjectKind
from servemesh.observe import names
from tests.harness.measured import BEGIN_S, counted, level, measured, worked

WINDOW = Window(begin_s=BEGIN_S, end_s=BEGIN_S + 60)
PRICES = Prices(cpu_hour=0.36, gpu_hour=3.6)


async def nobody_fires() -> int:
    return 0


async def seen(*points, kind: SubjectKind = SubjectKind.MODEL, prices: Prices = PRICES) -> MeshOverview:
    async with measured(*points) as store:
        return await Overview(store, nobody_fires, prices).get(WINDOW, kind)


def of(found: MeshOverview, subject: str) -> Figures:
    return next(each for each in found.subjects if each.subject == subject)


async def test_calls_that_ended_make_load_error_ratio_and_utilisation():
    found = await seen(worked(BEGIN_S + 30, answered=[0.01] * 90, failed=6, refused=4))
    digits = of(found, "models/digits")
    assert digits.call_count == 100
    assert digits.call_rate == pytest.approx(100 / 60)
    assert digits.error_ratio == pytest.approx(0.06)
    assert digits.utilisation == pytest.approx(0.9)


async def test_latencies_are_quantiles_over_all_workers():
    found = await seen(
        worked(BEGIN_S + 10, answered=[0.010] * 98, worker="worker-1"),
        worked(BEGIN_S + 10, answered=[0.500] * 2, worker="worker-2"),
    )
    digits = of(found, "models/digits")
    assert digits.p50_s == pytest.approx(0.010, rel=0.05)
    assert digits.p95_s == pytest.approx(0.010, rel=0.05)
    assert digits.p99_s == pytest.approx(0.500, rel=0.05)
    slow = of(
        await seen(worked(BEGIN_S + 10, answered=[0.5], worker="w-2"), kind=SubjectKind.WORKER), "workers/w-2"
    )
    assert slow.p50_s == pytest.approx(0.5, rel=0.05)


async def test_batches_make_queue_share_rows_per_run_and_busy_share():
    found = await seen(
        worked(BEGIN_S + 15, answered=[0.02] * 50, queue_s=0.25, runs=[4, 6], run_s=[1.0, 2.0]),
        worked(BEGIN_S + 45, runs=[5], run_s=[3.0]),
    )
    digits = of(found, "models/digits")
    assert digits.queue_share == pytest.approx(0.25 / 1.0)
    assert digits.rows_per_run == pytest.approx(5)
    assert digits.busy_share == pytest.approx(6 / 60)


async def test_processor_time_is_shared_out_by_run_time_and_priced():
    found = await seen(
        worked(BEGIN_S + 30, answered=[0.01] * 100, run_s=[3.0], cpu_s=8.0, model="digits"),
        worked(BEGIN_S + 30, answered=[0.01] * 50, run_s=[1.0], model="minilm"),
        [counted(names.PROCESS_CPU, BEGIN_S + 30, 4.0, service="gateway", instance="gateway")],
    )
    digits, minilm = of(found, "models/digits"), of(found, "models/minilm")
    assert digits.cpu_s_per_1000 == pytest.approx(1000 * 6.0 / 100)
    assert minilm.cpu_s_per_1000 == pytest.approx(1000 * 2.0 / 50)
    assert digits.cost_per_1000 == pytest.approx(60 * 0.36 / 3600)
    assert found.mesh.cpu_s_per_1000 == pytest.approx(1000 * 12.0 / 150)
    assert math.isnan(digits.gpu_s_per_1000)


async def test_a_gpu_that_two_workers_see_is_counted_once():
    gpu = {"host": "node", "gpu": "0", "service": "worker"}
    found = await seen(
        worked(BEGIN_S + 30, answered=[0.01] * 100, run_s=[3.0], cpu_s=0.0, worker="worker-1"),
        worked(
            BEGIN_S + 30, answered=[0.01] * 100, run_s=[1.0], cpu_s=0.0, model="minilm", worker="worker-2"
        ),
        [level(names.GPU_BUSY, BEGIN_S + 30, 0.5, instance=f"worker-{n}", **gpu) for n in (1, 2)],
    )
    assert of(found, "models/digits").gpu_s_per_1000 == pytest.approx(1000 * 0.5 * 60 * 0.75 / 100)
    assert of(found, "models/minilm").gpu_s_per_1000 == pytest.approx(1000 * 0.5 * 60 * 0.25 / 100)
    assert of(found, "models/digits").cost_per_1000 == pytest.approx(225 * 3.6 / 3600)


async def test_without_prices_nothing_has_a_cost():
    found = await seen(worked(BEGIN_S + 30, answered=[0.01], run_s=[1.0], cpu_s=1.0), prices=Prices())
    assert math.isnan(of(found, "models/digits").cost_per_1000)


async def test_what_the_edge_told_makes_the_errors_and_the_fault_tolerance_of_the_mesh():
    edge = {"service": "edge", "instance": "edge"}
    found = await seen(
        worked(BEGIN_S + 30, answered=[0.01] * 95),
        [
            counted(names.ENVOY_CALLS, BEGIN_S + 30, 95, code="OK", **edge),
            counted(names.ENVOY_CALLS, BEGIN_S + 30, 2, code="UNAVAILABLE", **edge),
            counted(names.ENVOY_CALLS, BEGIN_S + 30, 3, code="INVALID_ARGUMENT", **edge),
            counted(names.ENVOY_RETRIES_SUCCEEDED, BEGIN_S + 30, 6, **edge),
        ],
    )
    assert found.mesh.call_count == 100
    assert found.mesh.error_ratio == pytest.approx(0.02)
    assert found.mesh.utilisation == pytest.approx(0.95)
    assert found.mesh.fault_tolerance == pytest.approx(6 / 8)


async def test_subjects_are_named_and_put_in_order_of_their_calls():
    points = [
        worked(BEGIN_S + 30, answered=[0.01] * 2, version="1"),
        worked(BEGIN_S + 30, answered=[0.01] * 3, version="2"),
    ]
    found = await seen(*points, kind=SubjectKind.VERSION)
    assert [each.subject for each in found.subjects] == [
        "models/digits/versions/2",
        "models/digits/versions/1",
    ]
    assert (await seen(*points, kind=SubjectKind.TENANT)).subjects == ()


async def test_workers_are_those_that_have_a_lease_at_the_end_whoever_of_the_registries_says_so():
    found = await seen(
        [
            level(names.REGISTRY_WORKERS, BEGIN_S + 10, 5, instance="registry-1"),
            level(names.REGISTRY_WORKERS, BEGIN_S + 50, 3, instance="registry-1"),
            level(names.REGISTRY_WORKERS, BEGIN_S + 50, 3, instance="registry-2"),
        ]
    )
    assert found.worker_count == 3


async def test_a_window_without_measurements_has_figures_without_values():
    found = await seen()
    assert found.subjects == ()
    assert found.mesh.call_count == 0
    assert math.isnan(found.mesh.error_ratio)
