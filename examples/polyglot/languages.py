"""The languages of the examples, and what each needs on the machine; the standard library is enough to read it.

`python -m examples.polyglot.languages` prints the packages of those that lack something: `make examples-tools`.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

EXAMPLES = Path(__file__).resolve().parents[1]
INSTALL = "apt-get install --no-install-recommends"
GO_SOURCE = "/usr/share/gocode/src/google.golang.org"
JARS = "/usr/share/java"


@dataclass(frozen=True, slots=True, kw_only=True)
class Language:
    """One example: `name` is its folder, `needs` are commands and files, `packages` are Debian's."""

    name: str
    title: str
    needs: tuple[str, ...]
    packages: tuple[str, ...]

    @property
    def folder(self) -> Path:
        """Where its Makefile lies."""
        return EXAMPLES / self.name

    @property
    def install(self) -> str:
        """The command that installs what it needs."""
        return f"{INSTALL} {' '.join(self.packages)}"

    def missing(self) -> list[str]:
        """Return what is not on this machine."""
        return [need for need in self.needs if not _is_there(need)]


PYTHON = Language(name="python", title="Python", needs=("make", "python3"), packages=("make", "python3-venv"))
LANGUAGES = (
    PYTHON,
    Language(name="node", title="Node", needs=("node", "npm"), packages=("nodejs", "npm")),
    Language(
        name="go",
        title="Go",
        needs=(
            "go",
            "protoc",
            "protoc-gen-go",
            "protoc-gen-go-grpc",
            f"{GO_SOURCE}/grpc",
            f"{GO_SOURCE}/protobuf",
            f"{GO_SOURCE}/genproto/googleapis/rpc/errdetails",
        ),
        packages=(
            "golang-go",
            "golang-google-grpc-dev",
            "golang-google-protobuf-dev",
            "golang-github-golang-protobuf-1-5-dev",
            "golang-google-genproto-dev",
            "protobuf-compiler",
            "protoc-gen-go",
            "protoc-gen-go-grpc",
        ),
    ),
    Language(
        name="java",
        title="Java",
        needs=(
            "javac",
            "protoc",
            "grpc_java_plugin",
            f"{JARS}/grpc-netty.jar",
            f"{JARS}/protobuf.jar",
            f"{JARS}/netty-codec-http2.jar",
            f"{JARS}/perfmark-api.jar",
            f"{JARS}/proto-google-common-protos.jar",
            f"{JARS}/geronimo-annotation-1.3-spec.jar",
        ),
        packages=(
            "default-jdk-headless",
            "libgrpc-java",
            "libprotobuf-java",
            "libnetty-java",
            "libguava-java",
            "libperfmark-java",
            "libjsr305-java",
            "libgoogle-common-protos-java",
            "libgeronimo-annotation-1.3-spec-java",
            "protobuf-compiler",
            "protobuf-compiler-grpc-java-plugin",
        ),
    ),
    Language(
        name="cpp",
        title="C++",
        needs=("c++", "cmake", "pkg-config", "protoc", "grpc_cpp_plugin", "/usr/include/grpcpp/grpcpp.h"),
        packages=(
            "g++",
            "cmake",
            "pkg-config",
            "libgrpc++-dev",
            "libprotobuf-dev",
            "protobuf-compiler",
            "protobuf-compiler-grpc",
        ),
    ),
    Language(
        name="ruby",
        title="Ruby",
        needs=("ruby", "grpc_tools_ruby_protoc"),
        packages=("ruby", "ruby-grpc", "ruby-grpc-tools"),
    ),
)


def _is_there(need: str) -> bool:
    return Path(need).exists() if need.startswith("/") else shutil.which(need) is not None


if __name__ == "__main__":
    lacking = [language for language in LANGUAGES if language.missing()]
    print(*sorted({package for language in lacking for package in language.packages}))  # noqa: T201
