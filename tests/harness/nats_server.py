"""A real nats-server with JetStream, on a free port, that can be killed and started again on its data."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.harness.processes import Child, free_ports

_CONFIG = """
listen: "127.0.0.1:{port}"
jetstream {{ store_dir: "{store}", sync_interval: always, max_memory_store: 64MB, max_file_store: 1GB }}
"""


class NatsServer:
    """The server of one data folder."""

    def __init__(self, folder: Path, *, shared: bool = False) -> None:
        self.port = free_ports(1)[0]
        config = folder / "nats.conf"
        config.write_text(_CONFIG.format(port=self.port, store=folder / "store"))
        program = Path(sys.executable).parent / "nats-server"
        self.child = Child([program, "-c", config], log=folder / "nats.log", shared=shared)

    @property
    def url(self) -> str:
        """Where clients connect."""
        return f"nats://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start, and wait until it greets."""
        self.child.start()
        self.child.wait_ready(self._greets)

    def stop(self) -> None:
        """End it in order."""
        self.child.stop()

    def kill(self) -> None:
        """End it with kill -9."""
        self.child.kill()

    def _greets(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1.0) as client:
                return client.recv(5) == b"INFO "
        except OSError:
            return False


@contextmanager
def running_nats(folder: Path, *, shared: bool = False) -> Iterator[NatsServer]:
    """Run a server for the length of the block."""
    server = NatsServer(folder, shared=shared)
    server.start()
    try:
        yield server
    finally:
        server.stop()
