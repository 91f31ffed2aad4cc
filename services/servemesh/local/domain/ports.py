"""Which TCP ports a mesh gets: a block that no other mesh of the machine has, and of it what is free."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

# Below the range from which Linux takes the ports of outgoing connections, so that a process which is started
# again does not find its port in use by somebody's connection; and so low that the second port of weed's admin
# server, which insists on one 10,000 above the first, is in nobody's block.
BLOCKS = range(13_000, 20_000, 160)
"""The first port of each block. Whoever listens on it has the block; the kernel lets only one."""
GUARD = "guard"
"""Under this name the block of last time is remembered."""


class NoPortError(Exception):
    """No free port was found: the machine has none left in the range."""


def block_order(previous: Mapping[str, int], shuffled: Callable[[Iterable[int]], list[int]]) -> list[int]:
    """Return the blocks in the order in which to try them: that of last time, then any."""
    before = previous.get(GUARD, 0)
    known = [before] if before in BLOCKS else []
    return [*known, *(block for block in shuffled(BLOCKS) if block != before)]


def chosen(
    names: Iterable[str], *, block: int, previous: Mapping[str, int], is_free: Callable[[int], bool]
) -> dict[str, int]:
    """Return a free port of the block for each name: the previous one if it is still free, else the next."""
    wanted = list(names)
    room = range(block + 1, block + BLOCKS.step)
    ports = {GUARD: block}
    for name in wanted:
        before = previous.get(name, 0)
        if before in room and before not in ports.values() and is_free(before):
            ports[name] = before
    left = (port for port in room if port not in ports.values() and is_free(port))
    for name in wanted:
        if name not in ports:
            port = next(left, None)
            if port is None:
                raise NoPortError(f"of the TCP ports {block} to {room.stop - 1} too few are free")
            ports[name] = port
    return ports
