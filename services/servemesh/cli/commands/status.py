"""`servemesh status`: the processes of the local mesh, the workers, what they hold, what is deployed."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from servemesh import client as sdk
from servemesh.cli import output
from servemesh.cli.options import Address, AsJson, DataDir, connected
from servemesh.cli.settings import Settings
from servemesh.local.adapters.data_dir import DataDir as LocalFolder
from servemesh.local.domain.processes import MeshStatus, State

_POLL_S = 0.2
_EXIT_NOT_READY = 1


def local_mesh(data_dir: Path) -> MeshStatus | None:
    """Return the mesh that runs on `data_dir` now; None if there is none."""
    folder = LocalFolder(data_dir.absolute())
    return folder.find_status() if folder.is_locked() else None


def status(
    address: Address,
    data_dir: DataDir,
    wait: Annotated[
        float, typer.Option(metavar="SECONDS", min=0, help="Return when the mesh is ready, at most so long.")
    ] = 0,
    as_json: AsJson = False,
) -> None:
    """Show how the mesh is. Exit status 1: it is not ready."""
    until_s = time.monotonic() + wait
    while True:
        local = _own(local_mesh(data_dir), address)
        seen = _seen(local.address if local else address)
        ready = seen.ready and not seen.away and (local is None or local.state is State.READY)
        if ready or time.monotonic() >= until_s:
            break
        time.sleep(_POLL_S)
    if as_json:
        output.print_json(as_document(local, seen, local.address if local else address, ready=ready))
    else:
        _print(local, seen, address)
    if not ready:
        raise typer.Exit(_EXIT_NOT_READY)


def as_document(local: MeshStatus | None, seen: sdk.Status, address: str, *, ready: bool) -> dict[str, Any]:
    """Return what --json prints."""
    return {
        "ready": ready,
        "address": address,
        "http_address": local.http_address if local else None,
        "console_address": (local.console_address or None) if local else None,
        "metrics_address": local.metrics_address if local else None,
        "state": local.state if local else None,
        "data_dir": local.data_dir if local else None,
        "processes": local.processes if local else (),
        "workers": seen.workers,
        "deployments": seen.deployments,
        "away": seen.away,
    }


def _own(local: MeshStatus | None, address: str) -> MeshStatus | None:
    """Return the local mesh unless the user asks about another one."""
    if local is None or address in (local.address, Settings.model_fields["address"].default):
        return local
    return None


def _seen(address: str) -> sdk.Status:
    with connected(address) as client:
        return client.status(timeout_s=5.0)


def _print(local: MeshStatus | None, seen: sdk.Status, address: str) -> None:
    if local is None and "gateway" in seen.away and "registry" in seen.away:
        output.err.print(
            f"No mesh answers at {address}; start one with `servemesh up`, or name another address with "
            "--address or SERVEMESH_ADDRESS.",
            soft_wrap=True,
        )
        return
    if local is not None:
        output.out.print(
            f"Mesh on {local.data_dir}: {output.state_text(local.state)}, gRPC {local.address}, "
            f"HTTP http://{local.http_address}/v2, "
            + (f"console http://{local.console_address}, " if local.console_address else "")
            + f"metrics http://{local.metrics_address}/metrics",
            soft_wrap=True,
        )
        print_processes(local)
    for part in seen.away:
        output.out.print(f"[red]The {part} is away.[/red]")
    output.out.print()
    output.print_table(
        ("WORKER", "MODEL", "VERSION", "STATE", "MEMORY", "NOTE"), _slot_rows(seen), empty="No workers."
    )
    output.out.print()
    rows = (
        (wish.model, wish.state, output.shares(wish.traffic), wish.ready_replicas, wish.message)
        for wish in seen.deployments
    )
    output.print_table(
        ("DEPLOYMENT", "STATE", "VERSIONS", "READY ON", "NOTE"), rows, empty="Nothing is deployed."
    )


def print_processes(local: MeshStatus) -> None:
    """Print the processes of a local mesh."""
    output.print_table(
        ("PROCESS", "STATE", "PID", "ADDRESS", "RESTARTS"),
        ((item.name, item.state.value, item.pid, item.address, item.restarts) for item in local.processes),
        empty="No processes.",
    )


def _slot_rows(seen: sdk.Status) -> list[tuple[object, ...]]:
    rows: list[tuple[object, ...]] = []
    for worker in seen.workers:
        if not worker.slots:
            rows.append((worker.worker, "", "", worker.state, "", "holds nothing"))
        for slot in worker.slots:
            memory = output.size(slot.memory_bytes) if slot.memory_bytes else ""
            rows.append((worker.worker, slot.model, slot.version, slot.state, memory, slot.message))
    return rows
