"""tritonclient 2.73, unmodified, against the mesh's public address and against a worker."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from examples.demo.mesh import DemoMesh

SESSION = Path(__file__).with_name("tritonclient_session.py")


@pytest.mark.timeout(240)
def test_tritonclient_works_in_every_way(oip_address: str):
    answer = subprocess.run(
        [sys.executable, str(SESSION), oip_address],
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
    )
    assert answer.returncode == 0, answer.stderr[-3000:]
    assert answer.stdout.strip() == "ok"


def test_our_sdk_and_tritonclient_live_in_one_process_in_either_order(user_mesh: DemoMesh):
    ours, theirs = "import servemesh.client", "import tritonclient.grpc"
    for first, second in ((ours, theirs), (theirs, ours)):
        code = f"{first}\n{second}\nprint(servemesh.client.Client('{user_mesh.address}').inputs('digits')[0].name)"
        answer = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
        )
        assert answer.stdout.strip() == "image", answer.stderr
