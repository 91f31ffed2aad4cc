"""Our copy of the protocol and tritonclient's import in one process, in either order."""

from __future__ import annotations

import subprocess
import sys

import pytest

OURS = "from servemesh.api.oip.v2 import inference_pb2, inference_pb2_grpc"
THEIRS = "import tritonclient.grpc"
CHECK = "assert inference_pb2.ModelInferRequest.FromString(b'\\n\\x01m').model_name == 'm'"


@pytest.mark.parametrize("imports", [(OURS, THEIRS), (THEIRS, OURS)], ids=["ours_first", "theirs_first"])
def test_both_import_in_either_order(imports: tuple[str, str]) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", "; ".join((*imports, CHECK))], capture_output=True, text=True, timeout=60
    )
    assert ended.returncode == 0, ended.stderr
