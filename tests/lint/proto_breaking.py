"""Fails when the protos break clients of the newest release."""

import subprocess
import sys
from pathlib import Path

BUF = Path(sys.executable).with_name("buf")


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], capture_output=True, text=True, check=False).stdout.strip()


def main() -> int:
    """Run `buf breaking` against the newest release tag; return its exit code, 0 if nothing was released."""
    release = _git("describe", "--tags", "--abbrev=0", "--match", "v*")
    if not release:
        print("protos: nothing is released yet, so nothing can break")
        return 0
    return subprocess.run([str(BUF), "breaking", "--against", f".git#tag={release}"], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
