"""Time from `deploy` to READY of a large model that the worker has never seen, against what cannot be saved of it."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from minio import Minio
from onnx import TensorProto, helper, numpy_helper

from bench.peers import raw
from examples.demo.mesh import DemoMesh
from servemesh.blobs import keys
from servemesh.client import Client
from servemesh.local.adapters.data_dir import DataDir
from servemesh.local.domain.plan import BUCKET

WIDTH = 7_168  # squared, at four bytes: 206 MB
WAIT_S = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ColdStart:
    """One deployment, and the same bytes read from S3 and opened with onnxruntime by hand."""

    ready_s: float
    read_s: float
    session_s: float

    @property
    def ratio(self) -> float:
        """How much longer the mesh took than reading and opening."""
        return self.ready_s / (self.read_s + self.session_s)


def cold_starts(mesh: DemoMesh, folder: Path, rounds: int) -> Iterator[ColdStart]:
    """Deploy a new model each time; reading and opening by hand comes before it and after it in turn."""
    folder.mkdir()
    with Client(mesh.address) as client:
        for number in range(rounds):
            path, name = folder / f"large-{number}.onnx", f"large-{number}"
            path.write_bytes(_large(number).SerializeToString())
            client.push(name, path)
            by_hand = () if number % 2 else _by_hand(mesh, path)
            start_s = time.perf_counter()
            client.deploy(name, replicas=1, wait_s=WAIT_S)
            ready_s = time.perf_counter() - start_s
            read_s, session_s = by_hand or _by_hand(mesh, path)
            client.undeploy(name)
            path.unlink()
            yield ColdStart(ready_s=ready_s, read_s=read_s, session_s=session_s)


def _by_hand(mesh: DemoMesh, path: Path) -> tuple[float, float]:
    """Return the seconds that S3 and onnxruntime take."""
    data_dir = DataDir(mesh.folder)
    secrets = data_dir.secrets()
    store = Minio(
        f"127.0.0.1:{data_dir.ports()['weed-s3']}",
        access_key=secrets.access_key,
        secret_key=secrets.secret_key,
        secure=False,
    )
    with path.open("rb") as file:
        key = keys.blob_key(hashlib.file_digest(file, "sha256").hexdigest())
    copy = path.with_suffix(".read")
    start_s = time.perf_counter()
    store.fget_object(BUCKET, key, str(copy))
    read_s = time.perf_counter() - start_s
    raw.session(copy)
    session_s = time.perf_counter() - start_s - read_s
    copy.unlink()
    return read_s, session_s


def _large(seed: int) -> onnx.ModelProto:
    weights = np.random.default_rng(seed).normal(size=(WIDTH, WIDTH)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "weights"], ["y"])],
        "large",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ("rows", WIDTH))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ("rows", WIDTH))],
        [numpy_helper.from_array(weights, "weights")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
