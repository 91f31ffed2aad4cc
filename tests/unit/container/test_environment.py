"""What a container adds to the environment of the service that it runs."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from servemesh import container

SECRETS = {"/run/secrets/key": "s3cret\n"}


def filled(environment: Mapping[str, str]) -> dict[str, str]:
    return container.filled(environment, hostname="box-1", ip=lambda: "10.0.0.7", read=SECRETS.__getitem__)


def no_address() -> str:
    raise OSError


def no_file(path: str) -> str:
    raise FileNotFoundError(path)


def test_the_hostname_is_filled_in():
    assert (
        filled({"SERVEMESH_WORKER_INSTANCE": "worker-{hostname}"})["SERVEMESH_WORKER_INSTANCE"]
        == "worker-box-1"
    )


def test_the_address_is_filled_in():
    environment = {"SERVEMESH_WORKER_ADVERTISE_ADDRESS": "{ip}:9000"}
    assert filled(environment) == {"SERVEMESH_WORKER_ADVERTISE_ADDRESS": "10.0.0.7:9000"}


def test_a_secret_is_read_from_its_file_without_the_last_newline():
    environment = {"SERVEMESH_WORKER_S3_SECRET_KEY_FILE": "/run/secrets/key"}
    assert filled(environment) == {"SERVEMESH_WORKER_S3_SECRET_KEY": "s3cret"}


def test_variables_of_others_are_left_alone():
    environment = {"OTHER": "{ip} {hostname}", "OTHER_FILE": "/nowhere"}
    assert filled(environment) == environment


def test_a_secret_that_is_also_set_itself_is_refused():
    environment = {"SERVEMESH_X": "1", "SERVEMESH_X_FILE": "/run/secrets/key"}
    with pytest.raises(container.UnfilledError, match="SERVEMESH_X_FILE"):
        filled(environment)


def test_a_file_that_is_not_there_is_named_by_its_variable_alone():
    with pytest.raises(
        container.UnfilledError, match=r"^SERVEMESH_X_FILE: the file cannot be read: FileNotFoundError$"
    ):
        container.filled({"SERVEMESH_X_FILE": "/nowhere"}, hostname="box-1", ip=no_address, read=no_file)


def test_a_container_without_an_address_is_refused_only_where_it_matters():
    def fill(value: str) -> dict[str, str]:
        return container.filled({"SERVEMESH_X": value}, hostname="box-1", ip=no_address, read=no_file)

    assert fill("{hostname}") == {"SERVEMESH_X": "box-1"}
    with pytest.raises(container.UnfilledError, match="SERVEMESH_X"):
        fill("{ip}")


def test_the_process_becomes_the_service(tmp_path: Path):
    secret = tmp_path / "url"
    secret.write_text("no database\n")
    environment = {
        **os.environ,
        "SERVEMESH_REGISTRY_DATABASE_URL": "",
        "SERVEMESH_REGISTRY_S3_ENDPOINT_FILE": str(secret),
    }
    ended = subprocess.run(
        [sys.executable, "-m", "servemesh.container", "registry"],
        env=environment, capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert (ended.returncode, ended.stderr.split(":")[0]) == (64, "SERVEMESH_REGISTRY_S3_ENDPOINT")


def test_a_missing_secret_ends_it_with_64(tmp_path: Path):
    environment = {**os.environ, "SERVEMESH_REGISTRY_S3_SECRET_KEY_FILE": str(tmp_path / "nowhere")}
    command = [sys.executable, "-m", "servemesh.container", "registry"]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30, check=False)
    assert (ended.returncode, ended.stderr.count("\n")) == (container.EXIT_USAGE, 1)
