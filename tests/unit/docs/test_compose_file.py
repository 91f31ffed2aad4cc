"""compose.yaml and what it mounts say nothing that the code does not know."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from deploy.compose import make_secrets

from servemesh.observe import names
from tests.harness.setting_names import SETTINGS

ROOT = Path(__file__).parents[3]
DEPLOY = ROOT / "deploy" / "compose"
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if service["image"].startswith("servemesh/")}
# What the collectors of histograms and counters add to a metric's name.
SUFFIX = re.compile(r"_(total|bucket|sum|count)$")


def variables(service: dict[str, Any]) -> Iterator[str]:
    """Return the variables of a service, those of its secrets under their own name."""
    for name in service.get("environment", {}):
        yield name.removesuffix("_FILE")


def metric_names() -> set[str]:
    found = {value.name: value.unit for value in vars(names).values() if isinstance(value, names.Metric)}
    return {"_".join([name.replace(".", "_"), *([unit] if unit else [])]) for name, unit in found.items()}


@pytest.mark.parametrize("name", OURS)
def test_every_variable_of_our_services_is_a_setting(name: str):
    assert sorted(set(variables(OURS[name])) - SETTINGS) == []


@pytest.mark.parametrize("name", OURS)
def test_our_services_are_not_root_cannot_write_and_are_bounded(name: str):
    service = OURS[name]
    assert service["user"] == "10001:10001"
    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]
    assert {"mem_limit", "cpus", "pids_limit"} <= service.keys()


def test_what_is_published_is_published_on_this_machine_alone():
    ports = [port for service in SERVICES.values() for port in service.get("ports", ())]
    assert ports
    assert [port for port in ports if not port.startswith("127.0.0.1:")] == []


def test_every_image_has_a_version():
    images = [service["image"] for service in SERVICES.values()]
    assert [image for image in images if not re.search(r":[^:/]*\d|SERVEMESH_TAG", image)] == []


def test_every_secret_is_one_that_the_script_makes(tmp_path: Path):
    made = set(make_secrets.made(tmp_path / "secrets"))
    files = {Path(secret["file"]).name for secret in COMPOSE["secrets"].values()}
    files |= {Path(file).name for service in SERVICES.values() for file in service.get("env_file", ())}
    assert sorted(files - made) == []


def test_secrets_that_are_there_are_kept(tmp_path: Path):
    make_secrets.made(tmp_path)
    before = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert make_secrets.made(tmp_path) == []
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == before


def test_every_file_that_is_mounted_is_there():
    mounts = [mount for service in SERVICES.values() for mount in service.get("volumes", ())]
    sources = [mount.partition(":")[0] for mount in mounts if mount.startswith("./")]
    assert [source for source in sources if not (ROOT / source).exists()] == []


@pytest.mark.parametrize("path", sorted(DEPLOY.rglob("*.yaml")), ids=lambda path: path.name)
def test_every_file_of_the_profiles_is_yaml(path: Path):
    assert yaml.safe_load(path.read_text())


def test_the_dashboard_asks_for_metrics_that_there_are():
    dashboard = json.loads((DEPLOY / "grafana" / "dashboards" / "servemesh.json").read_text())
    asked = {
        SUFFIX.sub("", name)
        for panel in dashboard["panels"]
        for target in panel["targets"]
        for name in re.findall(r"\bservemesh_\w+", target["expr"])
    }
    assert asked
    assert sorted(asked - metric_names()) == []
