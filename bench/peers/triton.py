"""NVIDIA Triton out of the wheel of PyTriton, with onnxruntime in its Python backend."""

from __future__ import annotations

import os
import shutil
import sysconfig
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import onnxruntime as ort

from bench.peers.environments import Environment, MissingError
from bench.peers.server import Server, running
from bench.workloads import Model
from tests.harness.processes import free_ports

ENVIRONMENT = Environment("triton", ("nvidia-pytriton==0.7.0", "onnxruntime==1.31.*", "numpy<2"))
PROGRAM = Path(__file__).with_name("triton_model.py")
BATCH_MAX = 64
KIND_OF = {
    "tensor(float)": "TYPE_FP32",
    "tensor(int64)": "TYPE_INT64",
}


@contextmanager
def triton(models: Sequence[Model], folder: Path) -> Iterator[Server]:
    """Serve the models for the length of the block."""
    environment = ENVIRONMENT.made()
    program = _installed(environment, folder / "tritonserver")
    for model in models:
        _add(model, folder / "models", environment.site_packages)
    grpc_port, http_port, metrics_port = free_ports(3)
    command = [
        program / "bin" / "tritonserver",
        f"--model-repository={folder / 'models'}",
        f"--backend-directory={program / 'backends'}",
        f"--grpc-port={grpc_port}",
        f"--http-port={http_port}",
        f"--metrics-port={metrics_port}",
        "--grpc-address=127.0.0.1",
        "--http-address=127.0.0.1",
    ]
    libraries = (environment.site_packages / "nvidia_pytriton.libs", sysconfig.get_config_var("LIBDIR"))
    env = {**os.environ, "LD_LIBRARY_PATH": ":".join(map(str, libraries))}
    with running(command, grpc_port, folder / "triton.log", env) as child:
        yield Server(
            name="Triton",
            address=f"127.0.0.1:{grpc_port}",
            processes={"Triton": child.pid},
            has_scalars=False,
            version=f"Triton 2.51.0 ({environment.versions('nvidia-pytriton', 'onnxruntime')})",
        )


def _installed(environment: Environment, target: Path) -> Path:
    """Return a copy of the server whose backend knows this Python: the wheel keeps the two apart."""
    found = environment.site_packages / "pytriton" / "tritonserver"
    stub = found / "python_backend_stubs" / sysconfig.get_python_version() / "triton_python_backend_stub"
    if not stub.exists():
        raise MissingError(f"PyTriton has no backend for Python {sysconfig.get_python_version()}")
    shutil.copytree(found, target)
    shutil.copy(stub, target / "backends" / "python")
    return target


def _add(model: Model, repository: Path, site_packages: Path) -> None:
    folder = repository / model.name / "1"
    folder.mkdir(parents=True)
    os.symlink(model.path, folder / "model.onnx")
    code = PROGRAM.read_text().replace("@SITE_PACKAGES@", str(site_packages))
    (folder / "model.py").write_text(code)
    (folder.parent / "config.pbtxt").write_text(_config(model))


def _config(model: Model) -> str:
    session = ort.InferenceSession(str(model.path))
    lines = [f'name: "{model.name}"', 'backend: "python"', "instance_group [{ kind: KIND_CPU, count: 1 }]"]
    if model.is_batched:
        lines += [f"max_batch_size: {BATCH_MAX}", "dynamic_batching {}"]
    for direction, specs in (("input", session.get_inputs()), ("output", session.get_outputs())):
        for spec in specs:
            lines.append(
                f'{direction} [{{ name: "{spec.name}", data_type: {KIND_OF[spec.type]}, {_dims(model, spec)} }}]'
            )
    return "\n".join(lines)


def _dims(model: Model, spec: ort.NodeArg) -> str:
    shape = spec.shape[1:] if model.is_batched else spec.shape
    return f"dims: {[size if isinstance(size, int) else -1 for size in shape] or [1]}"
