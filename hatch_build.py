"""Generates the Python code of `protos/` into `gen/` whenever the project is built or installed."""

from __future__ import annotations

import re
import shutil
from importlib import resources
from pathlib import Path
from typing import Any

try:
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface
except ImportError:  # `make proto` runs this file where hatchling may be missing
    BuildHookInterface = object  # type: ignore[assignment,misc]

ROOT = Path(__file__).resolve().parent
OIP = Path("servemesh/api/oip/v2")

POOL_MODULE = '''"""The descriptor pool of the Open Inference Protocol messages.

A pool of our own, because other OIP clients (tritonclient, kserve) register the same full names in
protobuf's default pool, and one pool refuses a second file with the same symbols.
"""

from google.protobuf.descriptor_pool import DescriptorPool

POOL = DescriptorPool()
'''


def generate(root: Path = ROOT) -> None:
    """Write Python modules, type stubs and servicers for every file under `protos/servemesh`."""
    from grpc_tools import protoc  # type: ignore[import-untyped]

    protos, gen = root / "protos", root / "gen"
    shutil.rmtree(gen, ignore_errors=True)
    gen.mkdir()
    files = sorted(str(path.relative_to(protos)) for path in (protos / "servemesh").rglob("*.proto"))
    well_known = resources.files("grpc_tools") / "_proto"
    arguments = [
        "protoc",
        f"-I{protos}",
        f"-I{well_known}",
        f"--python_out={gen}",
        f"--pyi_out={gen}",
        f"--grpc_python_out={gen}",
        *files,
    ]
    if protoc.main(arguments) != 0:
        raise SystemExit("protoc refused the files under protos/: its message above says which line")
    _move_to_a_pool_of_its_own(gen / OIP)
    _drop_empty_servicers(gen)


def _move_to_a_pool_of_its_own(folder: Path) -> None:
    if not folder.exists():
        return
    (folder / "descriptor_pool.py").write_text(POOL_MODULE)
    for module in folder.glob("*_pb2.py"):
        text = module.read_text()
        text, found = re.subn(r"_descriptor_pool\.Default\(\)", "_oip_pool.POOL", text)
        if found != 1:
            raise SystemExit(f"{module.name}: expected one use of the default descriptor pool, found {found}")
        marker = "from google.protobuf import descriptor_pool as _descriptor_pool\n"
        if marker not in text:
            raise SystemExit(f"{module.name}: protoc's output has changed, the OIP pool cannot be set")
        text = text.replace(marker, "from servemesh.api.oip.v2 import descriptor_pool as _oip_pool\n")
        module.write_text(text)


def _drop_empty_servicers(gen: Path) -> None:
    for module in gen.rglob("*_pb2_grpc.py"):
        if "class " not in module.read_text():
            module.unlink()


class ProtoBuildHook(BuildHookInterface):  # type: ignore[type-arg]
    """Runs `generate` before hatchling collects the files of a wheel or an editable install."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        generate(Path(self.root))


if __name__ == "__main__":
    generate()
