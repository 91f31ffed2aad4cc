"""The last state on disk: the fleet for the next gateway, the tables for the next Envoy, and its bootstrap."""

from __future__ import annotations

import asyncio
import json
import logging
import os
from pathlib import Path

from envoy.service.discovery.v3 import discovery_pb2
from google.protobuf import json_format

from servemesh.api.fleet.v1 import fleet_pb2
from servemesh.api.registry.v1 import registry_pb2
from servemesh.errors import InvalidError, UnavailableError
from servemesh.gateway.adapters.fleet_messages import deployments_of, message_of, traffic_of, workers_of
from servemesh.gateway.adapters.xds_messages import Tables, tables_of
from servemesh.gateway.domain.fleet import Fleet, Worker
from servemesh.gateway.domain.snapshot.values import Snapshot
from servemesh.gateway.domain.traffic import Traffic
from servemesh.observe import names

logger = logging.getLogger(__name__)

FLEET_FILE = "fleet.json"
TABLES_FILE = "envoy-last-known.bin"
BOOTSTRAP_FILE = "envoy-bootstrap.json"


class StateFolder:
    """The gateway's private folder. Every file is replaced as a whole."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @property
    def tables_path(self) -> Path:
        """Where Envoy finds the last tables."""
        return (self._folder / TABLES_FILE).absolute()

    def recall(self) -> tuple[tuple[Worker, ...], Traffic] | None:
        """Return what was kept; None if there is nothing, or nothing that can be read."""
        path = self._folder / FLEET_FILE
        try:
            kept = json.loads(path.read_bytes())
            workers = json_format.ParseDict({"workers": kept["workers"]}, fleet_pb2.ListWorkersResponse())
            deployments = json_format.ParseDict(
                {"deployments": kept["deployments"]}, registry_pb2.ListDeploymentsResponse()
            )
            return workers_of(workers.workers), traffic_of(deployments.deployments)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, json_format.ParseError, InvalidError):
            logger.warning(names.STATE_UNREADABLE, extra={"file": FLEET_FILE})
            return None

    async def keep(self, fleet: Fleet, traffic: Traffic, snapshot: Snapshot) -> None:
        """Replace what is kept; UnavailableError if the disk does not take it."""
        await asyncio.to_thread(self._keep, fleet, traffic, snapshot)

    def write_bootstrap(self, bootstrap: str) -> None:
        """Write the file that Envoy is started with."""
        self._write(BOOTSTRAP_FILE, bootstrap.encode())

    def _keep(self, fleet: Fleet, traffic: Traffic, snapshot: Snapshot) -> None:
        workers = [json_format.MessageToDict(message_of(worker)) for worker in fleet.workers]
        deployments = [json_format.MessageToDict(deployment) for deployment in deployments_of(traffic)]
        self._write(FLEET_FILE, json.dumps({"workers": workers, "deployments": deployments}).encode())
        self._write(TABLES_FILE, framed(tables_of(snapshot)))

    def _write(self, name: str, content: bytes) -> None:
        path = self._folder / name
        fresh = path.with_suffix(".new")
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with fresh.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(path)
        except OSError as error:
            raise UnavailableError(
                f"{name} cannot be written to the gateway's state folder",
                reason="STATE_FOLDER_UNWRITABLE",
                file=name,
            ) from error


def framed(tables: Tables) -> bytes:
    """Return the tables as gRPC messages of an ADS stream, one after the other."""
    frames = bytearray()
    for type_url, table in tables.items():
        message = discovery_pb2.DiscoveryResponse(
            version_info=table.version,
            resources=table.resources.values(),
            type_url=type_url,
            nonce="last-known",
        ).SerializeToString(deterministic=True)
        frames += b"\0" + len(message).to_bytes(4, "big") + message
    return bytes(frames)
