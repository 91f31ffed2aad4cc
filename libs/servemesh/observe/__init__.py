"""Metrics, traces and logs of a process: `async with setup(...)` around everything else in main."""

from servemesh.observe.setup import Observation, setup

__all__ = ["Observation", "setup"]
