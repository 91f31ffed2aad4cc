"""Which versions of libraries are installed here: results depend on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import metadata


def library_versions(packages: Sequence[str]) -> Mapping[str, str]:
    """Return the version of each package that is installed."""
    found = {}
    for package in packages:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found
