"""What a script sees of a command that is refused: its exit status, and JSON on stdout."""

import json
import subprocess
import sys

import pytest

SERVEMESH = (sys.executable, "-m", "servemesh.cli.main")
NOBODY = ("--address", "127.0.0.1:9", "--json")


@pytest.mark.parametrize(
    ("words", "status", "reason"),
    [
        (["frob", "--json"], 64, "USAGE"),
        (["up", "--workers", "0", "--json"], 64, "USAGE"),
        (["model", "rm", "digits@", *NOBODY], 64, "TARGET_MALFORMED"),
        (["model", "ls", *NOBODY], 1, "NO_ANSWER"),
    ],
)
def test_a_refusal_is_json_and_a_status(words: list[str], status: int, reason: str):
    answer = subprocess.run([*SERVEMESH, *words], capture_output=True, text=True, check=False, timeout=50)
    assert answer.returncode == status
    assert json.loads(answer.stdout)["error"]["reason"] == reason
    assert answer.stderr
