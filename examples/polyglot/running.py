"""Builds one example and runs it against a mesh, with the Makefile in its folder as a user would."""

from __future__ import annotations

import difflib
import subprocess
import sys
from dataclasses import dataclass

from examples.polyglot.languages import Language

BUILD_S = 900
RUN_S = 120


class ExampleError(Exception):
    """An example could not be built, ended with an error, or did not end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of one example: `refused` is empty if it said what it should."""

    language: Language
    versions: str = ""
    refused: str = ""
    skipped: bool = False


def build(language: Language) -> str:
    """Build an example; return the versions of what it is built with."""
    _make(language, "build", timeout_s=BUILD_S)
    return _make(language, "versions", timeout_s=RUN_S).strip()


def output(language: Language, address: str) -> list[str]:
    """Run an example; return the lines that it printed."""
    return _make(language, "run", f"ADDRESS={address}", timeout_s=RUN_S).splitlines()


def difference(expected: list[str], found: list[str], name: str) -> str:
    """Return where two outputs differ, empty if they do not."""
    return "\n".join(difflib.unified_diff(expected, found, "python", name, lineterm="", n=1))


def _make(language: Language, *arguments: str, timeout_s: float) -> str:
    # The flags of the make that has started us are not for these.
    command = [
        "env",
        "-u",
        "MAKEFLAGS",
        "make",
        "--silent",
        "--no-print-directory",
        "-C",
        str(language.folder),
    ]
    try:
        done = subprocess.run(
            [*command, *arguments, f"PYTHON={sys.executable}"],
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout_s,
        )
    except subprocess.TimeoutExpired as error:
        raise ExampleError(f"`make {arguments[0]}` has not ended within {timeout_s:.0f} s") from error
    if done.returncode != 0:
        raise ExampleError(f"`make {arguments[0]}` ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout
