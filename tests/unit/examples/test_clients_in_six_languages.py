"""The clients under examples/ are built by `make examples` alone; here they are held to the protos that they speak."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from examples.polyglot.languages import LANGUAGES, Language
from examples.polyglot.running import difference
from servemesh.api.oip.v2 import inference_pb2
from servemesh.api.registry.v1 import registry_pb2

ROOT = Path(__file__).parents[3]
HEALTH_CHECK = "Check"
CALLED = {
    "ServerLive",
    "ServerReady",
    HEALTH_CHECK,
    "ListModels",
    "CreateDeployment",
    "WatchDeployment",
    "ModelInfer",
    "ModelReady",
    "RepositoryIndex",
    "ModelMetadata",
    "ModelStreamInfer",
    "DeleteDeployment",
}


def _camel(name: str) -> str:
    return name[0].lower() + name[1:]


def _snake(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


# How each language writes the name of an RPC, and the file that calls them.
WRITTEN: dict[str, tuple[str, Callable[[str], str]]] = {
    "python": ("*.py", str),
    "node": ("*.mjs", _camel),
    "go": ("*.go", str),
    "java": ("*.java", _camel),
    "cpp": ("*.cpp", str),
    "ruby": ("*.rb", _snake),
}


def _rpcs() -> set[str]:
    services = [
        *inference_pb2.DESCRIPTOR.services_by_name.values(),
        *registry_pb2.DESCRIPTOR.services_by_name.values(),
    ]
    return {method.name for service in services for method in service.methods} | {HEALTH_CHECK}


@pytest.mark.parametrize("language", LANGUAGES, ids=lambda language: language.name)
def test_each_client_makes_the_same_calls_and_all_exist(language: Language) -> None:
    pattern, written = WRITTEN[language.name]
    source = "\n".join(file.read_text() for file in sorted(language.folder.glob(pattern)))
    # A call has an argument; a field is read without one. Node passes names on, in quotes.
    called = {name for name in _rpcs() if re.search(rf"[.>']{written(name)}['(](?!\))", source)}
    assert called == CALLED


@pytest.mark.parametrize("proto", sorted((ROOT / "protos").rglob("*.proto")), ids=lambda proto: proto.stem)
def test_each_proto_says_where_its_go_and_java_code_goes(proto: Path) -> None:
    text = proto.read_text()
    api, version = proto.parts[-3:-1]
    assert f'option go_package = "servemesh.dev/api/{api}/{version};{api}{version}";' in text
    assert f'option java_package = "dev.servemesh.api.{api}.{version}";' in text
    assert "option java_multiple_files = true;" in text


def test_the_python_client_takes_the_versions_that_the_project_is_tested_with() -> None:
    tested = (ROOT / "constraints.txt").read_text().splitlines()
    required = (ROOT / "examples/python/requirements.txt").read_text().splitlines()
    assert set(required) <= set(tested)


def test_the_node_client_locks_every_package_and_names_no_registry() -> None:
    lock = json.loads((ROOT / "examples/node/package-lock.json").read_text())
    packages = [package for path, package in lock["packages"].items() if path]
    assert packages
    assert all("integrity" in package and "resolved" not in package for package in packages)


@pytest.mark.parametrize("language", LANGUAGES, ids=lambda language: language.name)
def test_each_example_explains_itself_and_is_linked(language: Language) -> None:
    assert (language.folder / "README.md").exists()
    assert f"(../examples/{language.name}/)" in (ROOT / "docs/clients.md").read_text()


def test_what_a_machine_lacks_is_named_with_the_command_that_installs_it() -> None:
    language = Language(
        name="go", title="Go", needs=("no-such-command", "/no/such/file"), packages=("a", "b")
    )
    assert language.missing() == ["no-such-command", "/no/such/file"]
    assert language.install == "apt-get install --no-install-recommends a b"


def test_outputs_that_differ_are_shown_side_by_side() -> None:
    assert difference(["live: true"], ["live: true"], "go") == ""
    assert "+live: false" in difference(["live: true"], ["live: false"], "go")
