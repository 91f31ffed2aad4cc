"""Which TCP ports the mesh asks for, and which of last time it may have again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

# Below the range from which Linux takes the ports of outgoing connections, so that a process which is started
# again does not find its port in use by somebody's connection. The upper end leaves room for weed, which
# insists on a second port 10,000 above the first for its admin server.
PORT_MIN = 10_000
PORT_MAX = 22_767
TRIES_MAX = 200


class NoPortError(Exception):
    """No free port was found: the machine has none left in the range."""


def chosen(
    names: Iterable[str],
    *,
    previous: Mapping[str, int],
    is_free: Callable[[int], bool],
    random_port: Callable[[], int],
) -> dict[str, int]:
    """Return a free port for each name: the previous one if it is still free, else a random one."""
    ports: dict[str, int] = {}
    for name in names:
        taken = set(ports.values())
        before = previous.get(name)
        if before is not None and before not in taken and is_free(before):
            ports[name] = before
        else:
            ports[name] = _free_port(taken, is_free, random_port)
    return ports


def _free_port(taken: set[int], is_free: Callable[[int], bool], random_port: Callable[[], int]) -> int:
    for _ in range(TRIES_MAX):
        port = random_port()
        if port not in taken and is_free(port):
            return port
    raise NoPortError(f"no free TCP port found in {TRIES_MAX} tries between {PORT_MIN} and {PORT_MAX}")
