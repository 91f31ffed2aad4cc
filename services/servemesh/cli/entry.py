"""The installed `servemesh` command; says what to install where only the SDK is."""

from __future__ import annotations

import sys

_EXIT_REFUSED = 1


def main() -> None:
    """Run the command line, as `servemesh.cli.main` does."""
    try:
        from servemesh.cli.main import main as run
    except ModuleNotFoundError as missing:
        if missing.name not in ("typer", "rich", "pydantic", "pydantic_settings"):
            raise
        print("Error: the servemesh command needs more: pip install 'servemesh[cli]'", file=sys.stderr)
        sys.exit(_EXIT_REFUSED)
    run()
