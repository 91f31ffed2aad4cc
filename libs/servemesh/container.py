"""Starts a service in a container: `python -m servemesh.container [SERVICE]`, which becomes the service's process.

Without an argument it is the one that the image was built for, which the variable SERVICE names.
It fills into the environment what only the container knows; all else is left to the service's settings.
`{hostname}` and `{ip}` in a variable SERVEMESH_… become the container's own name and address, and SERVEMESH_…_FILE
names a file, a secret's, whose content becomes SERVEMESH_….
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NoReturn

PREFIX = "SERVEMESH_"
FILE = "_FILE"
EXIT_USAGE = 64


class UnfilledError(ValueError):
    """A variable of the environment cannot be filled in."""


def filled(
    environment: Mapping[str, str], *, hostname: str, ip: Callable[[], str], read: Callable[[str], str]
) -> dict[str, str]:
    """Return the environment of the service. `ip` is asked, and files are read, only if a variable wants it."""
    result = {}
    for name, value in environment.items():
        if not name.startswith(PREFIX):
            result[name] = value
        elif name.endswith(FILE):
            result[_secret_name(name, environment)] = _content(name, value, read)
        else:
            result[name] = _own(name, value, hostname, ip)
    return result


def _secret_name(name: str, environment: Mapping[str, str]) -> str:
    plain = name.removesuffix(FILE)
    if plain in environment:
        raise UnfilledError(f"{name}: {plain} is set, too")
    return plain


def _content(name: str, path: str, read: Callable[[str], str]) -> str:
    try:
        return read(path).rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UnfilledError(f"{name}: the file cannot be read: {type(error).__name__}") from error


def _own(name: str, value: str, hostname: str, ip: Callable[[], str]) -> str:
    value = value.replace("{hostname}", hostname)
    if "{ip}" not in value:
        return value
    try:
        return value.replace("{ip}", ip())
    except OSError as error:
        raise UnfilledError(f"{name}: {hostname} has no address") from error


def main() -> NoReturn:
    """Become `python -m servemesh.SERVICE.main`; 64 with one line on stderr if that cannot be."""
    hostname, given = socket.gethostname(), os.environ  # noqa: TID251 it is handed on to the settings
    service = sys.argv[1] if len(sys.argv) == 2 else given.get("SERVICE", "")
    if not service or len(sys.argv) > 2:
        sys.stderr.write("usage: python -m servemesh.container SERVICE\n")
        sys.exit(EXIT_USAGE)
    try:
        environment = filled(
            given,
            hostname=hostname,
            ip=lambda: socket.gethostbyname(hostname),
            read=lambda path: Path(path).read_text(),
        )
    except UnfilledError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(EXIT_USAGE)
    os.execve(sys.executable, [sys.executable, "-m", f"servemesh.{service}.main"], environment)


if __name__ == "__main__":
    main()
