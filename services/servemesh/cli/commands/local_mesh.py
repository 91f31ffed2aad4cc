"""`servemesh up`, `down` and `logs`: the mesh on this machine."""

from __future__ import annotations

import os
import signal
import time
from collections import deque
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.panel import Panel

from servemesh.cli import output
from servemesh.cli.commands.status import local_mesh
from servemesh.cli.options import AsJson, DataDir
from servemesh.cli.settings import Settings
from servemesh.cli.supervisor import SupervisorProcess
from servemesh.errors import ConflictError, ExpiredError, InvalidError, MissingError, ServemeshError
from servemesh.local.adapters.data_dir import DataDir as LocalFolder
from servemesh.local.domain.processes import MeshStatus, State

_POLL_S = 0.1
_READY_S = 180.0
_SAY_S = 10.0
"""Where no spinner can be shown, what is waited for is said so often."""
_DOWN_S = 120.0
_WORKERS_MAX = 64


def up(
    data_dir: DataDir,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Worker processes.")] = 2,
    autoscale: Annotated[
        str | None,
        typer.Option(
            metavar="MIN:MAX", help="Run as many workers as the demand needs, instead of --workers."
        ),
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="gRPC port of the mesh; 0: a free one.")] = 8001,
    http_port: Annotated[
        int, typer.Option(min=0, max=65535, help="HTTP port of the mesh; 0: a free one.")
    ] = 8000,
    console_port: Annotated[
        int, typer.Option(min=0, max=65535, help="HTTP port of the console; 0: a free one.")
    ] = 8080,
    metrics_port: Annotated[
        int, typer.Option(min=0, max=65535, help="Prometheus port of the mesh; 0: a free one.")
    ] = 8002,
    detach: Annotated[bool, typer.Option("--detach", help="Return when the mesh is ready.")] = False,
    as_json: AsJson = False,
) -> None:
    """Start a whole mesh on this machine. Ctrl-C drains and ends it."""
    supervisor = SupervisorProcess(data_dir.absolute(), detached=detach)
    least, most = scaling_bounds(autoscale, "--autoscale") if autoscale is not None else (workers, workers)
    supervisor.start(
        workers=least,
        workers_max=most,
        port=port,
        http_port=http_port,
        console_port=console_port,
        metrics_port=metrics_port,
    )
    # From here on a signal must end the mesh, not only this command.
    signal.signal(signal.SIGTERM, _interrupted)
    try:
        mesh = _brought_up(supervisor)
        if as_json:
            output.print_json(mesh)
        else:
            output.out.print(_panel(mesh, detached=detach))
        if not detach and supervisor.wait() != 0:
            raise supervisor.refusal()
    except (KeyboardInterrupt, ServemeshError) as reason:
        _taken_down(supervisor, as_json=as_json)
        if isinstance(reason, ServemeshError):
            raise


def scaling_bounds(text: str, option: str) -> tuple[int, int]:
    """Return the least and the most in MIN:MAX."""
    least, colon, most = text.partition(":")
    if not (colon and least.isdigit() and most.isdigit() and 1 <= int(least) <= int(most) <= _WORKERS_MAX):
        raise InvalidError(
            f"{option} is {text!r}, expected MIN:MAX with 1 ≤ MIN ≤ MAX ≤ {_WORKERS_MAX}, for example 1:4",
            reason="OPTION_MALFORMED",
            field=option,
            expected="MIN:MAX",
            got=text,
        )
    return int(least), int(most)


def down(data_dir: DataDir, as_json: AsJson = False) -> None:
    """Drain and end the mesh that runs on the data folder."""
    mesh = local_mesh(data_dir)
    if mesh is not None:
        os.kill(mesh.pid, signal.SIGTERM)
        folder, until_s = LocalFolder(data_dir.absolute()), time.monotonic() + _DOWN_S
        while folder.is_locked():
            if time.monotonic() >= until_s:
                raise ExpiredError(
                    f"the mesh (process {mesh.pid}) has not ended within {_DOWN_S:.0f} s; "
                    f"`kill -9 {mesh.pid}` ends it and everything it started at once",
                    reason="STOP_PENDING",
                )
            time.sleep(_POLL_S)
    if as_json:
        output.print_json({"stopped": mesh is not None})
    else:
        output.out.print("stopped" if mesh else f"no mesh runs on {data_dir}", soft_wrap=True)


def logs(
    service: Annotated[str, typer.Argument(help="A process of the mesh, for example worker-1.")],
    data_dir: DataDir,
    follow: Annotated[
        bool, typer.Option("-f", "--follow", help="Go on with what is logged from now on.")
    ] = False,
    lines: Annotated[int, typer.Option("-n", "--lines", min=0, help="How much of the past.")] = 200,
    as_json: AsJson = False,
) -> None:
    """Print the log of one process of the local mesh."""
    folder = data_dir.absolute() / "logs"
    path = folder / f"{service}.log"
    if path.parent != folder or not path.is_file():
        known = ", ".join(sorted(file.stem for file in folder.glob("*.log"))) or "none yet"
        raise MissingError(
            f"there is no log of {service!r} in {folder}; the logs there are: {known}",
            reason="LOG_MISSING",
            service=service,
        )
    past, position = _tail(path, lines)
    if as_json:
        output.print_json({"service": service, "path": path, "lines": past})
        return
    for line in past:
        typer.echo(line)
    if follow:
        _follow(path, position)


def _interrupted(number: int, frame: object) -> NoReturn:
    raise KeyboardInterrupt


def _brought_up(supervisor: SupervisorProcess) -> MeshStatus:
    """Return the status of the mesh when it is ready; ServemeshError if it will not be."""
    said_s = time.monotonic()
    until_s = said_s + _READY_S
    with output.err.status("starting") as spinner:
        while True:
            mesh = supervisor.find_status()
            if mesh is not None and mesh.state is State.READY and supervisor.answers(mesh.address):
                return mesh
            if supervisor.has_ended():
                raise supervisor.refusal()
            if time.monotonic() >= until_s:
                raise ConflictError(
                    f"the mesh is not ready after {_READY_S:.0f} s: {_waiting_for(mesh)}. The logs are in "
                    f"{supervisor.log_dir}; the mesh is ended again.",
                    reason="MESH_NOT_READY",
                )
            waiting = f"starting: waiting for {_waiting_for(mesh)}"
            spinner.update(waiting)
            if not output.err.is_terminal and time.monotonic() >= said_s + _SAY_S:
                output.err.print(waiting, soft_wrap=True)
                said_s = time.monotonic()
            time.sleep(_POLL_S)


def _waiting_for(mesh: MeshStatus | None) -> str:
    if mesh is None:
        return "the supervisor"
    late = [process.name for process in mesh.processes if process.state not in (State.READY, State.RESTING)]
    return ", ".join(late) or "the first answer"


def _panel(mesh: MeshStatus, *, detached: bool) -> Panel:
    all_workers = [process for process in mesh.processes if process.name.startswith("worker-")]
    workers = sum(process.state is not State.RESTING for process in all_workers)
    more = f", up to {len(all_workers)} as the demand needs" if workers < len(all_workers) else ""
    settings = Settings()
    is_own_folder = Path(mesh.data_dir) != settings.data_dir.absolute()
    down = f"servemesh down --data-dir {mesh.data_dir}" if is_own_folder else "servemesh down"
    steps = [
        *([f"export SERVEMESH_ADDRESS={mesh.address}"] if mesh.address != settings.address else []),
        "servemesh model push NAME PATH",
        "servemesh deploy NAME --wait 60",
        "servemesh infer NAME -i INPUT=JSON",
        *([down] if detached else []),
    ]
    text = (
        f"gRPC      {mesh.address}    (Open Inference Protocol, servemesh.api)\n"
        f"HTTP      http://{mesh.http_address}/v2    (the same over REST)\n"
        + (f"console   http://{mesh.console_address}\n" if mesh.console_address else "")
        + f"metrics   http://{mesh.metrics_address}/metrics\n"
        f"data      {mesh.data_dir}\n"
        f"workers   {workers}{more}\n\n"
        "Next:\n" + "".join(f"  {step}\n" for step in steps)
    ) + ("" if detached else "Ctrl-C drains and ends it.")
    title = "[green]The mesh is ready[/green]"
    return Panel(text.rstrip(), title=title, title_align="left", expand=False)


def _taken_down(supervisor: SupervisorProcess, *, as_json: bool) -> None:
    """Drain the mesh and wait for its end; a second Ctrl-C ends everything at once."""
    if supervisor.has_ended():
        return
    try:
        if not as_json:
            output.err.print("draining; Ctrl-C again ends everything at once")
        supervisor.terminate()
        supervisor.wait()
    except KeyboardInterrupt:
        supervisor.kill()
        supervisor.wait()


def _tail(path: Path, lines: int) -> tuple[list[str], int]:
    with path.open("rb") as file:
        last = deque(file, maxlen=lines)
        return [line.decode("utf-8", "replace").rstrip("\n") for line in last], file.tell()


def _follow(path: Path, position: int) -> None:
    """Print what is appended, over rotations, until Ctrl-C."""
    file = path.open("rb")
    file.seek(position)
    while True:
        if data := file.read():
            typer.echo(data.decode("utf-8", "replace"), nl=False)
        elif path.exists() and path.stat().st_ino != os.fstat(file.fileno()).st_ino:
            file.close()
            file = path.open("rb")
        else:
            time.sleep(_POLL_S)
