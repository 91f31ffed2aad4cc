"""Asks the kernel whether TCP ports of this machine are free, and holds one as a lock."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager

from servemesh.local.domain.ports import NoPortError

# weed's admin server also takes the port this far above the one it is given.
_WEED_OFFSET = 10_000
_HOST = "127.0.0.1"


@contextmanager
def held(candidates: Iterable[int]) -> Iterator[int]:
    """Listen on the first of `candidates` that nobody listens on, for the length of the block.

    A lock among all processes of the machine that leaves nothing behind, however its holder ends.
    """
    for port in candidates:
        with closing(socket.socket(socket.AF_INET, socket.SOCK_STREAM)) as guard:
            try:
                guard.bind((_HOST, port))
                guard.listen(1)
            except OSError:
                continue
            yield port
            return
    raise NoPortError("every block of TCP ports is in use; other meshes run on this machine")


def is_free(port: int) -> bool:
    """Whether a server could listen on `port` now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        # As servers do: the connections of a former run that linger in TIME_WAIT do not matter.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((_HOST, port))
            listener.listen(1)
        except OSError:
            return False
    return True


def is_free_with_offset(port: int) -> bool:
    """Whether `port` and the port that weed derives from it are free."""
    return is_free(port) and is_free(port + _WEED_OFFSET)


def shuffled(ports: Iterable[int]) -> list[int]:
    """Return the ports in any order."""
    listed = list(ports)
    random.shuffle(listed)
    return listed
