"""From a trained program on disk to a deployed, optimised endpoint in four lines, as a user types them."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skops.io
from sklearn.datasets import load_digits
from sklearn.neural_network import MLPClassifier

from examples.demo.mesh import SERVEMESH, DemoMesh
from servemesh.client import Client

MODEL = "handwriting"


@pytest.mark.timeout(240)
def test_four_lines_from_a_trained_program_to_an_optimised_endpoint(user_mesh: DemoMesh, tmp_path: Path):
    images, digits = load_digits(return_X_y=True)
    images = images.astype(np.float32)
    network = MLPClassifier(hidden_layer_sizes=(256,), max_iter=30, random_state=0).fit(images, digits)
    rows, program = tmp_path / "digits.npz", tmp_path / "digits.skops"
    np.savez(rows, input=images, digit=digits)  # what converted scikit-learn estimators call it
    skops.io.dump(network, program)

    dataset = servemesh(user_mesh, f"dataset push {MODEL} {rows} --label digit")
    converted = servemesh(user_mesh, f"convert {MODEL} {program} --dataset {MODEL} --wait")
    optimised = servemesh(
        user_mesh,
        f"optimize {MODEL} --recipe int8 --dataset {MODEL} --loss-max 0.1 --rounds 5 --batch 8 --alias small --wait",
    )
    deployed = servemesh(user_mesh, f"deploy {MODEL}@small --wait 60")

    assert dataset["row_count"] == 1797
    assert converted["result"]["parity"]["argmax_agreement"] == 1.0
    (variant,) = optimised["result"]["variants"]
    assert variant["accepted"]
    assert variant["size_ratio"] < 0.6
    assert deployed["state"] == "READY"
    with Client(user_mesh.address) as client:
        answers = client.infer(MODEL, {"input": images[:200]})
        versions = {each.version: each for each in client.versions(MODEL)}
    assert answers.version == str(variant["version"])
    assert (next(iter(answers.values())).ravel() == digits[:200]).mean() > 0.9
    assert versions[variant["version"]].labels["servemesh.optimization"] == optimised["name"]

    lines = servemesh(user_mesh, f"job logs {optimised['name']}")["lines"]
    assert any("int8_static" in line["text"] for line in lines)
    refused = servemesh(user_mesh, f"optimize {MODEL} --recipe int9", status=1)
    assert refused["error"]["reason"] == "RECIPE_UNKNOWN"


def servemesh(mesh: DemoMesh, words: str, status: int = 0) -> Any:
    """Run a command of the user's and return what it prints as JSON."""
    command = [*SERVEMESH, *words.split(), "--address", mesh.address, "--json"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert answer.returncode == status, answer.stdout + answer.stderr
    return json.loads(answer.stdout)
