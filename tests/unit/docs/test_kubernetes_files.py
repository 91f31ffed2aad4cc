"""The manifests under deploy/kubernetes hold to the published schemas, and say nothing that the code does not know."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from tests.harness.setting_names import SETTINGS

ROOT = Path(__file__).parents[3] / "deploy" / "kubernetes"
SCHEMAS = "1.34"
FOLDERS = ("base", "stores")
Resource = dict[str, Any]


def in_file(path: Path) -> list[Resource]:
    return [resource for resource in yaml.safe_load_all(path.read_text()) if resource]


def manifests() -> Iterator[tuple[str, Resource]]:
    for folder in FOLDERS:
        listed = yaml.safe_load((ROOT / folder / "kustomization.yaml").read_text())["resources"]
        for name in listed:
            for resource in in_file(ROOT / folder / name):
                yield f"{folder}/{resource['kind']}/{resource['metadata']['name']}", resource


RESOURCES = dict(manifests())
PODS = {
    name: resource["spec"]["template"]
    for name, resource in RESOURCES.items()
    if resource["kind"] in ("Deployment", "StatefulSet")
}
CONTAINERS = {
    f"{name}/{container['name']}": (pod["spec"], container)
    for name, pod in PODS.items()
    for container in pod["spec"]["containers"]
}
SELECTORS = {
    name: selector.get("matchLabels", selector)
    for name, resource in RESOURCES.items()
    if (selector := resource.get("spec", {}).get("selector"))
}


@pytest.mark.parametrize("name", RESOURCES)
def test_every_resource_holds_to_its_schema(name: str):
    kubernetes_validate.validate(RESOURCES[name], SCHEMAS, strict=True)


@pytest.mark.parametrize("folder", sorted(path.parent.name for path in ROOT.glob("*/kustomization.yaml")))
def test_every_file_of_a_folder_is_named_by_its_kustomization_and_is_there(folder: str):
    kustomization = yaml.safe_load((ROOT / folder / "kustomization.yaml").read_text())
    named = {*kustomization["resources"], *(patch["path"] for patch in kustomization.get("patches", ()))}
    assert [name for name in named if not (ROOT / folder / name).exists()] == []
    there = {path.name for path in (ROOT / folder).glob("*.yaml")} - {"kustomization.yaml"}
    assert sorted(there - named) == []


@pytest.mark.parametrize("name", CONTAINERS)
def test_every_variable_is_a_setting(name: str):
    variables = [variable["name"] for variable in CONTAINERS[name][1].get("env", ())]
    ours = {variable.removesuffix("_FILE") for variable in variables if variable.startswith("SERVEMESH_")}
    if "POSTGRES_USER" not in variables:
        assert sorted(ours - SETTINGS) == []


@pytest.mark.parametrize("name", CONTAINERS)
def test_every_container_is_probed_bounded_and_not_root(name: str):
    pod, container = CONTAINERS[name]
    assert {"startupProbe", "readinessProbe", "livenessProbe"} <= container.keys()
    assert "memory" in container["resources"]["limits"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}


@pytest.mark.parametrize("name", SELECTORS)
def test_every_selector_finds_a_pod(name: str):
    labels = [pod["metadata"]["labels"] for pod in PODS.values()]
    assert any(SELECTORS[name].items() <= each.items() for each in labels)


def test_every_process_of_a_mesh_is_there_and_guarded():
    apps = {pod["metadata"]["labels"]["app"] for pod in PODS.values()}
    guarded = {
        resource["spec"]["podSelector"].get("matchLabels", {}).get("app")
        for resource in RESOURCES.values()
        if resource["kind"] == "NetworkPolicy"
    }
    ours = {"edge", "rest", "registry", "worker", "optimizer", "metrics", "console"}
    assert apps == {*ours, "nats", "s3", "postgres"}
    assert sorted(apps - guarded) == []
