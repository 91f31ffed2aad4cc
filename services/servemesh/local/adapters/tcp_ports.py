"""Asks the kernel whether a TCP port of this machine is free."""

from __future__ import annotations

import random
import socket

from servemesh.local.domain.ports import PORT_MAX, PORT_MIN

# weed's admin server also takes the port this far above the one it is given.
_WEED_OFFSET = 10_000


def is_free(port: int, host: str = "127.0.0.1") -> bool:
    """Whether a server could listen on `port` now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        # As servers do: the connections of a former run that linger in TIME_WAIT do not matter.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
            listener.listen(1)
        except OSError:
            return False
    return True


def is_free_with_offset(port: int) -> bool:
    """Whether `port` and the port that weed derives from it are free."""
    return is_free(port) and is_free(port + _WEED_OFFSET)


def random_port() -> int:
    """Return a port of the range that the mesh draws from, free or not."""
    return random.randint(PORT_MIN, PORT_MAX)
