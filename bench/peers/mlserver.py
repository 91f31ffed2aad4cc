"""Seldon's MLServer with a custom runtime on onnxruntime, in one process."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bench.peers.environments import Environment
from bench.peers.server import Server, running
from bench.workloads import Model
from tests.harness.processes import free_ports

ENVIRONMENT = Environment("mlserver", ("mlserver==1.7.1", "onnxruntime==1.31.*"))
RUNTIME = Path(__file__).with_name("mlserver_runtime.py")
BATCH_MAX = 64
BATCH_WAIT_S = 0.001


@contextmanager
def mlserver(models: Sequence[Model], folder: Path) -> Iterator[Server]:
    """Serve the models for the length of the block."""
    environment = ENVIRONMENT.made()
    http_port, grpc_port, metrics_port = free_ports(3)
    folder.mkdir(parents=True)
    settings = {
        "host": "127.0.0.1",
        "http_port": http_port,
        "grpc_port": grpc_port,
        "metrics_port": metrics_port,
        "parallel_workers": 0,
        "debug": False,
        "grpc_max_message_length": 64 << 20,
    }
    (folder / "settings.json").write_text(json.dumps(settings))
    shutil.copy(RUNTIME, folder)
    for model in models:
        _add(model, folder / model.name)
    command = [environment.folder / "bin" / "mlserver", "start", folder]
    with running(command, grpc_port, folder / "mlserver.log") as child:
        yield Server(
            name="MLServer",
            address=f"127.0.0.1:{grpc_port}",
            processes={"MLServer": child.pid},
            version=environment.versions("mlserver", "onnxruntime"),
        )


def _add(model: Model, folder: Path) -> None:
    folder.mkdir()
    settings: dict[str, object] = {
        "name": model.name,
        "implementation": "mlserver_runtime.OnnxRuntime",
        "parameters": {"uri": str(model.path)},
    }
    if model.is_batched:
        settings |= {"max_batch_size": BATCH_MAX, "max_batch_time": BATCH_WAIT_S}
    (folder / "model-settings.json").write_text(json.dumps(settings))
