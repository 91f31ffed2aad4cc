"""What /v2/openapi.json says of the REST front is true: schemathesis asks for all of it, rightly and wrongly."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from examples.demo.mesh import DemoMesh

SCHEMATHESIS = Path(sys.executable).with_name("schemathesis")
SETTINGS = Path(__file__).with_name("schemathesis.toml")
# The model that other tests use stays where it is.
WORDS = (
    "--seed",
    "1",
    "--max-examples",
    "5",
    "--phases",
    "coverage,fuzzing",
    "--exclude-path-regex",
    "load$",
)


@pytest.mark.timeout(240)
def test_the_document_is_true(user_mesh: DemoMesh, tmp_path: Path) -> None:
    document = f"http://{user_mesh.status()['http_address']}/v2/openapi.json"
    answer = subprocess.run(
        [SCHEMATHESIS, "--config-file", SETTINGS, "run", *WORDS, document],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
    )
    assert answer.returncode == 0, answer.stdout[-4000:] + answer.stderr[-1000:]
