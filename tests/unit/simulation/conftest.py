"""Histories fail loads by the thousand, and nobody wants to read of each."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Keep warnings to themselves for the length of a test."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)
