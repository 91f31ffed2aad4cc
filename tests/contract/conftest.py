"""The databases that the registry's contract suites run on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.harness.registry import RegistryParts, registry_at


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of this test alone."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'registry.db'}"
    url: str = request.getfixturevalue("postgres_url")
    return url


@pytest.fixture
async def registry(database_url: str) -> AsyncIterator[RegistryParts]:
    """A registry on that database."""
    async with registry_at(database_url) as parts:
        yield parts
