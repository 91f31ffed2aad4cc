"""Virtual environments of the peers, each with its own packages, kept under .cache/bench."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

CACHE = Path(__file__).parents[2] / ".cache" / "bench"
INSTALL_TIMEOUT_S = 900


class MissingError(Exception):
    """A peer cannot be had on this machine; the text says why."""


class Environment:
    """A virtual environment with these packages, made when it is first needed."""

    def __init__(self, name: str, packages: Sequence[str]) -> None:
        self.folder = CACHE / name
        self._packages = packages

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.folder / "bin" / "python"

    @property
    def site_packages(self) -> Path:
        """Where its packages lie."""
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        return self.folder / "lib" / version / "site-packages"

    def made(self) -> Environment:
        """Make it unless it is there with the same packages; MissingError if pip cannot."""
        stamp, wanted = self.folder / ".packages", "\n".join(self._packages)
        if not stamp.exists() or stamp.read_text() != wanted:
            shutil.rmtree(self.folder, ignore_errors=True)
            ran([sys.executable, "-m", "venv", str(self.folder)], "no virtual environment can be made")
            pip = [str(self.python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
            ran([*pip, *self._packages], f"pip cannot install {' '.join(self._packages)}")
            stamp.write_text(wanted)
        return self

    def versions(self, *names: str) -> str:
        """Return "name version" of installed packages, joined by commas."""
        code = "import sys; from importlib.metadata import version as v; print(*(v(n) for n in sys.argv[1:]))"
        done = subprocess.run([self.python, "-c", code, *names], capture_output=True, text=True, check=True)
        return ", ".join(map(" ".join, zip(names, done.stdout.split(), strict=True)))


def ran(command: Sequence[str], complaint: str, folder: Path | None = None) -> str:
    """Run a command and return its output; MissingError with its last words if it fails."""
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, check=True, timeout=INSTALL_TIMEOUT_S
        )
    except FileNotFoundError:
        raise MissingError(f"{complaint}: there is no {command[0]} here") from None
    except subprocess.TimeoutExpired:
        raise MissingError(f"{complaint}: not done in {INSTALL_TIMEOUT_S} s") from None
    except subprocess.CalledProcessError as error:
        said = error.stderr.strip().splitlines()[-1:] or ["it gave no reason"]
        raise MissingError(f"{complaint}: {said[0]}") from None
    return done.stdout
