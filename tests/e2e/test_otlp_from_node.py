"""OpenTelemetry's own SDK for Node delivers into the metrics service. `make otlp-node` installs it and runs this."""

from __future__ import annotations

import asyncio
import shutil
import time
from pathlib import Path

import grpc
import pytest

from servemesh.api.metrics.v1 import metrics_pb2 as pb
from servemesh.api.metrics.v1 import metrics_pb2_grpc as pb_grpc
from tests.harness.metrics_service import metrics_service
from tests.harness.waiting import eventually

FOLDER = Path(__file__).parents[2] / ".cache" / "otlp-node"
PROGRAM = Path(__file__).parent / "otlp_node" / "send.mjs"

pytestmark = pytest.mark.skipif(
    not shutil.which("node") or not (FOLDER / "node_modules").is_dir(),
    reason="OpenTelemetry's SDK for Node is not installed: `make otlp-node` does it, and runs this test",
)


async def _asked(
    channel: grpc.aio.Channel, metric: str, measure: int, quantile: float = 0.0
) -> dict[str, float]:
    request = pb.QueryRangeRequest(metric=metric, measure=measure, group_by=["model"], quantile=quantile)
    request.window.start_time.FromSeconds(int(time.time()) - 600)
    request.step.seconds = 3_600
    answer = await pb_grpc.MetricsServiceStub(channel).QueryRange(request)
    return {track.labels["model"]: track.values[0] for track in answer.tracks}


@pytest.mark.parametrize("compression", ["none", "gzip"])
async def test_an_unmodified_sdk_of_another_language_delivers(tmp_path: Path, compression: str):
    shutil.copy(PROGRAM, FOLDER / "send.mjs")
    async with metrics_service(tmp_path, labels_kept="service,instance,model") as (channel, address):
        sender = await asyncio.create_subprocess_exec(
            "node",
            str(FOLDER / "send.mjs"),
            f"http://{address}",
            compression,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        said, complaints = await sender.communicate()
        assert sender.returncode == 0, complaints.decode()
        assert len(said.decode().strip()) == 32

        async def has_all_orders() -> bool:
            return await _asked(channel, "shop.orders", pb.MEASURE_INCREASE) == {"odd": 61.0, "even": 50.0}

        await eventually(has_all_orders)
        assert await _asked(channel, "shop.baskets", pb.MEASURE_LAST) == {"": 34.0}
        for metric in ("shop.explicit", "shop.exponential"):
            assert await _asked(channel, metric, pb.MEASURE_INCREASE) == {"m": 100.0}
            median = (await _asked(channel, metric, pb.MEASURE_QUANTILE, 0.5))["m"]
            assert median == pytest.approx(0.5, rel=0.05)
