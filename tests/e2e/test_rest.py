"""The mesh over HTTP, with the programs that people use: curl and tritonclient.http."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from examples.demo.mesh import DemoMesh

SESSION = Path(__file__).with_name("tritonclient_http_session.py")
IMAGE = {"name": "image", "datatype": "FP32", "shape": [1, 64], "data": [0.0] * 64}


@pytest.fixture(scope="module")
def http_address(user_mesh: DemoMesh) -> str:
    """Where the mesh speaks HTTP."""
    address: str = user_mesh.status()["http_address"]
    return address


@pytest.mark.timeout(240)
def test_tritonclient_http_works_in_every_way(http_address: str) -> None:
    answer = subprocess.run(
        [sys.executable, str(SESSION), http_address], capture_output=True, text=True, check=False, timeout=110
    )
    assert answer.returncode == 0, answer.stderr[-3000:]
    assert answer.stdout.strip() == "ok"


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_curl_gets_what_the_readme_says(http_address: str) -> None:
    assert curl(f"{http_address}/v2/health/ready") == (200, None)
    status, body = curl("--data", json.dumps({"inputs": [IMAGE]}), f"{http_address}/v2/models/digits/infer")
    assert status == 200
    assert [output["name"] for output in body["outputs"]] == ["label", "probabilities"]
    status, body = curl("--data", '{"inputs": [{}]}', f"{http_address}/v2/models/digits/infer")
    assert (status, body["metadata"]["field"]) == (400, "inputs[0].shape")
    status, body = curl(f"{http_address}/v2/models/nothing")
    assert (status, body["reason"]) == (404, "MODEL_NOT_FOUND")
    status, body = curl("--request", "POST", f"{http_address}/v2/repository/index")
    assert (status, body[0]["name"], body[0]["state"]) == (200, "digits", "READY")


def curl(*words: str) -> tuple[int, Any]:
    """Return status and body of one request."""
    answer = subprocess.run(
        ["curl", "--silent", "--max-time", "20", "--write-out", "\n%{http_code}", *words],
        capture_output=True,
        text=True,
        check=True,
    )
    body, _, status = answer.stdout.rpartition("\n")
    return int(status), json.loads(body) if body else None
