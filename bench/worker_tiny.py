"""Times the worker's data path on a tiny model: calls per second and CPU per call, at several concurrencies.

Server and client are processes of their own. Run it as `python -m bench.worker_tiny`.
"""

from __future__ import annotations

import asyncio
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import uvloop

from servemesh.api.oip.v2 import inference_pb2 as pb
from servemesh.rpc.health import Health
from servemesh.rpc.server import Backend, serving
from servemesh.worker.api.oip import OipApi
from servemesh.worker.service.catalog import Catalog
from servemesh.worker.service.inference import Inference
from tests.harness import models
from tests.harness.worker_slots import direct_slots

METHOD = "/inference.GRPCInferenceService/ModelInfer"
SECONDS = 3.0


async def serve() -> None:
    """Serve one perceptron until standard input closes; answer each line with the CPU time used so far."""
    with tempfile.TemporaryDirectory() as folder:
        async with direct_slots(Path(folder), {"mlp": models.mlp()}) as slots:
            health = Health()
            api = OipApi(Inference(slots), Catalog(slots), health)
            registrars = [api.register]
            async with serving(
                "127.0.0.1:0", registrars, health=health, backend=Backend.NATIVE, grace_s=1
            ) as address:
                print(address, flush=True)
                loop = asyncio.get_running_loop()
                while await loop.run_in_executor(None, sys.stdin.readline):
                    statistics = next(iter(slots.slots())).statistics
                    used = resource.getrusage(resource.RUSAGE_SELF)
                    report = {
                        "cpu_s": used.ru_utime + used.ru_stime,
                        "calls": statistics.success.count,
                        "batches": statistics.batches,
                    }
                    print(json.dumps(report), flush=True)


async def load(address: str, concurrency: int) -> tuple[int, list[float]]:
    """Keep `concurrency` calls in flight for SECONDS; return how many ended, and their latencies."""
    import grpc

    request = pb.ModelInferRequest(
        model_name="mlp",
        inputs=[pb.ModelInferRequest.InferInputTensor(name="x", datatype="FP32", shape=[1, 64])],
        raw_input_contents=[np.ones((1, 64), np.float32).tobytes()],
    ).SerializeToString()
    latencies: list[float] = []
    async with grpc.aio.insecure_channel(address) as channel:
        infer = channel.unary_unary(METHOD)
        stop_s = time.perf_counter() + SECONDS

        async def caller() -> None:
            while (started_s := time.perf_counter()) < stop_s:
                await infer(request, timeout=30)
                latencies.append(time.perf_counter() - started_s)

        async with asyncio.TaskGroup() as group:
            for _ in range(concurrency):
                group.create_task(caller())
    return len(latencies), latencies


def main() -> None:
    """Print one line per concurrency."""
    if sys.argv[1:] == ["serve"]:
        uvloop.run(serve())
        return
    if sys.argv[1:2] == ["load"]:
        calls, latencies = uvloop.run(load(sys.argv[2], int(sys.argv[3])))
        print(json.dumps([calls, *np.percentile(latencies, [50, 99]).tolist()]))
        return
    command = [sys.executable, "-m", "bench.worker_tiny"]
    with subprocess.Popen(
        [*command, "serve"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdin
        assert server.stdout
        address = server.stdout.readline().strip()

        def measured() -> dict[str, float]:
            print(file=server.stdin, flush=True)
            return dict(json.loads(server.stdout.readline()))  # type: ignore[union-attr]

        for concurrency in (1, 16, 64):
            before = measured()
            clients = [
                subprocess.Popen([*command, "load", address, str(n)], stdout=subprocess.PIPE, text=True)
                for n in _shares(concurrency)
            ]
            results = [json.loads(client.communicate()[0]) for client in clients]
            after = measured()
            calls = after["calls"] - before["calls"]
            print(
                f"{concurrency:3} in flight: {sum(r[0] for r in results) / SECONDS:7.0f} calls/s, "
                f"p50 {max(r[1] for r in results) * 1e3:6.2f} ms, p99 {max(r[2] for r in results) * 1e3:6.2f} ms, "
                f"{(after['cpu_s'] - before['cpu_s']) / calls * 1e6:6.1f} us CPU per call, "
                f"{calls / (after['batches'] - before['batches']):5.1f} calls per batch"
            )
        server.stdin.close()


def _shares(concurrency: int) -> list[int]:
    return [concurrency]


if __name__ == "__main__":
    main()
