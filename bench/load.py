"""A closed loop of inference calls, in a process of its own: `python -m bench.load ADDRESS CONCURRENCY SECONDS`."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from dataclasses import dataclass

import grpc
import numpy as np
import uvloop

from servemesh.api.oip.v2 import inference_pb2 as pb

METHOD = "/inference.GRPCInferenceService/ModelInfer"
MODEL = "mlp"
FEATURES = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What one closed loop saw."""

    calls_per_s: float
    latency_ms_p50: float
    latency_ms_p99: float


def measured(address: str, *, concurrency: int, seconds: float) -> Result:
    """Run the loop in a process of its own and return what it saw."""
    command = [sys.executable, "-m", "bench.load", address, str(concurrency), str(seconds)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    return Result(**json.loads(done.stdout))


async def _loop(address: str, concurrency: int, seconds: float) -> dict[str, float]:
    request = pb.ModelInferRequest(
        model_name=MODEL,
        inputs=[pb.ModelInferRequest.InferInputTensor(name="x", datatype="FP32", shape=[1, FEATURES])],
        raw_input_contents=[np.ones((1, FEATURES), np.float32).tobytes()],
    ).SerializeToString()
    latencies_s: list[float] = []
    async with grpc.aio.insecure_channel(address) as channel:
        infer = channel.unary_unary(METHOD)
        stop_s = time.perf_counter() + seconds

        async def caller() -> None:
            while (started_s := time.perf_counter()) < stop_s:
                await infer(request, timeout=30)
                latencies_s.append(time.perf_counter() - started_s)

        async with asyncio.TaskGroup() as group:
            for _ in range(concurrency):
                group.create_task(caller())
    p50_s, p99_s = np.percentile(latencies_s, [50, 99])
    return {
        "calls_per_s": len(latencies_s) / seconds,
        "latency_ms_p50": p50_s * 1e3,
        "latency_ms_p99": p99_s * 1e3,
    }


if __name__ == "__main__":
    print(json.dumps(uvloop.run(_loop(sys.argv[1], int(sys.argv[2]), float(sys.argv[3])))))
