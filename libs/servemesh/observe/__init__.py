"""Metrics, traces and logs of a process: `async with setup.setup(...)` around everything else in main."""
