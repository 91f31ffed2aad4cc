"""From a torch program on disk to a deployed, optimised endpoint: the four lines of examples/optimize as they stand."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from examples.demo.mesh import SERVEMESH, DemoMesh
from servemesh.client import Client

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "optimize"
MODEL = "handwriting"
PROMPT = "$ servemesh "


@pytest.mark.timeout(360)
def test_four_lines_from_a_torch_program_to_an_optimised_endpoint(user_mesh: DemoMesh, tmp_path: Path):
    lines = lines_of(EXAMPLE / "README.md")
    assert lines[:4] == lines_of(ROOT / "README.md")[:4]
    subprocess.run([sys.executable, EXAMPLE / "train.py", tmp_path], check=True, timeout=120)
    dataset, converted, optimised, deployed = (run(user_mesh, line, tmp_path) for line in lines[:4])

    assert dataset["row_count"] == 797
    assert converted["result"]["parity"]["argmax_agreement"] == 1.0
    (variant,) = optimised["result"]["variants"]
    assert variant["accepted"]
    assert variant["size_ratio"] < 0.3
    assert deployed["state"] == "READY"
    rows = np.load(tmp_path / "digits.npz")
    with Client(user_mesh.address) as client:
        answers = client.infer(MODEL, {"image": rows["image"]})
        versions = {each.version: each for each in client.versions(MODEL)}
    assert answers.version == str(variant["version"])
    assert (next(iter(answers.values())).argmax(-1) == rows["digit"]).mean() > 0.9
    assert versions[variant["version"]].labels["servemesh.optimization"] == optimised["name"]

    log = run(user_mesh, f"job logs {optimised['name']}", tmp_path)["lines"]
    assert any("int8_static" in line["text"] for line in log)
    page = tmp_path / "report.html"
    run(user_mesh, f"report optimization {optimised['name']} --html {page}", tmp_path)
    assert "int8_static" in page.read_text()
    refused = run(user_mesh, f"optimize {MODEL} --recipe int9", tmp_path, status=1)
    assert refused["error"]["reason"] == "RECIPE_UNKNOWN"


def lines_of(page: Path) -> list[str]:
    """Return what is typed after `servemesh` for the example's model, in order."""
    typed = [line.removeprefix(PROMPT) for line in page.read_text().splitlines() if line.startswith(PROMPT)]
    return [line for line in typed if MODEL in line]


def run(mesh: DemoMesh, words: str, folder: Path, status: int = 0) -> Any:
    """Run a command of the user's in a folder and return what it prints as JSON."""
    command = [*SERVEMESH, *words.split(), "--address", mesh.address, "--json"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, cwd=folder)
    assert answer.returncode == status, answer.stdout + answer.stderr
    return json.loads(answer.stdout)
