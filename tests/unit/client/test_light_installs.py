"""What `pip install servemesh` and `servemesh[cli]` bring is enough for the SDK and for the command."""

import subprocess
import sys

import pytest

SERVICE_PACKAGES = (
    "envoy minio nats onnx onnxruntime opentelemetry prometheus_client psutil sqlalchemy uvloop xds"
)
CLI_PACKAGES = "pydantic pydantic_settings rich typer"
FORBID = """
import sys

class Forbidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {packages!r}.split():
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Forbidden())
"""


def run_without(packages: str, code: str) -> subprocess.CompletedProcess[str]:
    program = FORBID.format(packages=packages) + code
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60
    )


def test_the_sdk_needs_only_what_the_distribution_needs():
    code = """
import servemesh.client
from servemesh.errors import UnavailableError
once = servemesh.client.RetryPolicy(attempts_max=1)
with servemesh.client.Client("127.0.0.1:9", retry=once) as client:
    try:
        client.infer("m", {"x": [1.0]})
    except UnavailableError as error:
        print(error.reason)
"""
    answer = run_without(f"{SERVICE_PACKAGES} {CLI_PACKAGES}", code)
    assert answer.stdout.strip() == "NO_ANSWER", answer.stderr


@pytest.mark.parametrize("words", [["--help"], ["model", "ls", "--help"]])
def test_the_command_needs_only_its_extra(words: list[str]):
    code = f"sys.argv[1:] = {words!r}\nfrom servemesh.cli.entry import main\nmain()"
    answer = run_without(SERVICE_PACKAGES, code)
    assert answer.returncode == 0, answer.stderr


def test_without_its_extra_the_command_says_what_to_install():
    answer = run_without(f"{SERVICE_PACKAGES} {CLI_PACKAGES}", "from servemesh.cli.entry import main\nmain()")
    assert answer.returncode == 1
    assert "pip install 'servemesh[cli]'" in answer.stderr


def test_up_without_its_extra_says_what_to_install(tmp_path):
    words = ["up", "--data-dir", str(tmp_path)]
    code = f"sys.argv[1:] = {words!r}\nfrom servemesh.cli.entry import main\nmain()"
    answer = run_without(SERVICE_PACKAGES, code)
    assert answer.returncode == 1
    assert "pip install 'servemesh[local]'" in answer.stderr
