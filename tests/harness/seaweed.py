"""A real S3 store: SeaweedFS (`weed mini`) on free ports, with an access key."""

from __future__ import annotations

import http.client
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.harness.processes import Child, free_ports

_PORT_FLAGS = (
    "s3.port",
    "s3.port.grpc",
    "master.port",
    "master.port.grpc",
    "volume.port",
    "volume.port.grpc",
    "filer.port",
    "filer.port.grpc",
    "admin.port",
    "admin.port.grpc",
)
# By itself as many as GiB are free on the disk; each bucket takes several.
_VOLUMES = "-volume.max=1000"
_OFF = (
    "-webdav=false",
    "-admin.ui=false",
    "-master.telemetry=false",
    "-s3.port.iceberg=0",
    "-s3.port.lance=0",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Access:
    """Where an S3 store is, and the key to it."""

    endpoint: str
    access_key: str
    secret_key: str = field(repr=False)
    secure: bool = False


class SeaweedServer:
    """The store of one data folder."""

    def __init__(self, folder: Path, *, shared: bool = False) -> None:
        ports = free_ports(len(_PORT_FLAGS))
        self._port = ports[0]
        self._ports = ports
        self.access = S3Access(
            endpoint=f"127.0.0.1:{self._port}", access_key="servemesh", secret_key="for-tests-only"
        )
        data = folder / "data"
        data.mkdir()
        identities = folder / "s3.json"
        identities.write_text(json.dumps(_identities(self.access)))
        self.child = Child(
            [
                Path(sys.executable).parent / "weed",
                "mini",
                f"-dir={data}",
                "-ip=127.0.0.1",
                "-ip.bind=127.0.0.1",
                f"-s3.config={identities}",
                *(f"-{flag}={port}" for flag, port in zip(_PORT_FLAGS, ports, strict=True)),
                _VOLUMES,
                *_OFF,
            ],
            log=folder / "weed.log",
            cwd=folder,
            shared=shared,
        )

    def start(self) -> None:
        """Start, and wait until S3 answers."""
        self.child.start()
        self.child.wait_ready(self._answers, timeout_s=60.0)  # after a restart weed may take 15 s

    def stop(self) -> None:
        """End it in order."""
        self.child.stop()

    def kill(self) -> None:
        """End it with kill -9."""
        self.child.kill()

    def remove_sockets(self) -> None:
        """Remove the sockets that weed leaves in /tmp."""
        for port in self._ports:
            for socket in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):
                socket.unlink(missing_ok=True)

    def _answers(self) -> bool:
        """S3 says 403 to a stranger once it knows its keys, something else or nothing before."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=2.0)
        try:
            connection.request("GET", "/")
            return connection.getresponse().status == 403
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


def _identities(access: S3Access) -> dict[str, object]:
    credentials = [{"accessKey": access.access_key, "secretKey": access.secret_key}]
    actions = ["Admin", "Read", "Write", "List", "Tagging"]
    return {"identities": [{"name": "servemesh", "credentials": credentials, "actions": actions}]}


@contextmanager
def running_seaweed(folder: Path, *, shared: bool = False) -> Iterator[SeaweedServer]:
    """Run a store for the length of the block."""
    server = SeaweedServer(folder, shared=shared)
    server.start()
    try:
        yield server
    finally:
        server.stop()
        server.remove_sockets()
