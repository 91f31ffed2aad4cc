"""Builds and runs the supervisor: `python -m servemesh.local.main`, as `servemesh up` does."""

from __future__ import annotations

import asyncio
import importlib.util
import logging
import os
import random
import sys
import sysconfig
import time
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path

from pydantic import ValidationError

from servemesh.lifecycle import (
    EXIT_REFUSED,
    EXIT_USAGE,
    Stop,
    SystemClock,
    background,
    until_signalled,
    wrong_setting,
)
from servemesh.local.adapters import tcp_ports
from servemesh.local.adapters.data_dir import DataDir, DataDirBusyError
from servemesh.local.adapters.envoy_program import envoy_path
from servemesh.local.adapters.http_probe import HttpProbe
from servemesh.local.adapters.mesh_demand import MeshDemand
from servemesh.local.adapters.metrics_page import serving_metrics
from servemesh.local.adapters.os_process import OsLauncher
from servemesh.local.adapters.process_usage import ProcessUsage
from servemesh.local.domain import plan, ports, scaling
from servemesh.local.domain.layout import MeshLayout, Programs, port_names
from servemesh.local.domain.processes import MeshStatus, ProcessStatus
from servemesh.local.domain.restarts import RestartPolicy
from servemesh.local.scaling import Autoscaler
from servemesh.local.service import HopelessError, Supervisor, Timing
from servemesh.local.settings import Settings, inherited_environment
from servemesh.observe import metrics
from servemesh.observe import names as event_names
from servemesh.observe.logs import logging_to

_HOST = "127.0.0.1"
_OPTIMIZER_NEEDS = ("torch", "skops", "yaml")  # of the extra `optimizer`
_METRICS_NEEDS = ("duckdb", "statsforecast")  # of the extra `metrics`
_TRIES = 3
"""With other ports, when one turns out to be taken by somebody else."""
_LINES_TOLD = 8
_LINE_CHARS_MAX = 300

_log = logging.getLogger(__name__)


class RefusedError(Exception):
    """The mesh cannot be started here; the text is for the user."""


async def run(settings: Settings, stop: Stop = until_signalled) -> None:
    """Keep the mesh running until `stop` returns. RefusedError if it cannot be started."""
    data_dir = DataDir(settings.data_dir.absolute())
    with ExitStack() as stack:
        try:
            stack.enter_context(data_dir.locked())
        except DataDirBusyError as error:
            raise RefusedError(
                f"a mesh already runs on {data_dir.path} (process {error}). Look at it with "
                "`servemesh status`, stop it with `servemesh down`, or name another folder with --data-dir."
            ) from None
        for tries_left in reversed(range(_TRIES)):
            try:
                with tcp_ports.held(ports.block_order(data_dir.ports(), tcp_ports.shuffled)) as block:
                    await _supervised(settings, data_dir, block, stop)
                return
            except ports.NoPortError as error:
                raise RefusedError(f"{error}.") from None
            except HopelessError as error:
                # Somebody may have taken a port between our look at it and our use of it.
                taken = [port for port in data_dir.ports().values() if not tcp_ports.is_free(port)]
                if not taken or not tries_left:
                    raise RefusedError(_told(error, data_dir)) from None
                _log.warning(event_names.PORTS_TAKEN, extra={"ports": taken, "process_name": error.name})
                data_dir.keep_ports({})


async def _supervised(settings: Settings, data_dir: DataDir, block: int, stop: Stop) -> None:
    layout = _laid_out(settings, data_dir, block)
    mesh = plan.planned(layout)
    pages = {spec.name: spec.metrics_url for spec in mesh.processes if spec.metrics_url is not None}
    with ExitStack() as stack:
        try:
            metrics_address = stack.enter_context(
                serving_metrics(_HOST, settings.metrics_port, pages, timeout_s=settings.scrape_timeout_s)
            )
        except OSError:
            raise _taken(settings.metrics_port, "metrics", "--metrics-port") from None
        _prepare(data_dir, mesh)
        launcher = OsLauncher(
            data_dir.logs, inherited_environment(), log_size_bytes_max=settings.log_size_bytes_max
        )
        usage = ProcessUsage()
        stack.enter_context(metrics.collecting(usage))

        def journal(status: MeshStatus) -> None:
            usage.show(status)
            try:
                data_dir.keep_status(status)
            except OSError:  # a full disk must not end the mesh
                _log.warning(event_names.STATE_NOT_KEPT, extra={"reason": "DATA_DIR_UNWRITABLE"})

        supervisor = Supervisor(
            mesh,
            _first_status(layout, mesh, launcher, metrics_address),
            launcher=launcher,
            probe=HttpProbe(timeout_s=1.0),
            journal=journal,
            now_s=time.monotonic,
            random=random.random,
            policy=RestartPolicy(
                delay_s_max=settings.restart_delay_s_max, unready_s_max=2 * settings.ready_timeout_s
            ),
            timing=Timing(grace_s=settings.grace_s, ready_s=settings.ready_timeout_s),
            resting=scaling.resting(layout.workers, settings.workers),
        )
        async with AsyncExitStack() as loops:
            if layout.workers > settings.workers:
                demand = await loops.enter_async_context(MeshDemand.connected(layout.edge_address))
                autoscaler = Autoscaler(
                    demand,
                    supervisor.rest,
                    _scaling_policy(settings),
                    SystemClock(),
                    interval_s=settings.scaling_interval_s,
                )
                await loops.enter_async_context(background(autoscaler.run))
            await supervisor.run(stop)


def _scaling_policy(settings: Settings) -> scaling.ScalingPolicy:
    return scaling.ScalingPolicy(
        workers_min=settings.workers,
        workers_max=settings.workers_max,
        up_s=settings.scaling_up_s,
        down_s=settings.scaling_down_s,
        rest_s=settings.scaling_rest_s,
    )


def _told(error: HopelessError, data_dir: DataDir) -> str:
    """Return the error with the end of the log of the process that caused it."""
    path = data_dir.logs / f"{error.name}.log"
    lines = [
        line[:_LINE_CHARS_MAX] for line in path.read_text("utf-8", "replace").splitlines() if line.strip()
    ]
    shown = "".join(f"\n| {line}" for line in lines[-_LINES_TOLD:])
    return f"{error}. Its log, {path}, ends:{shown}"


def _laid_out(settings: Settings, data_dir: DataDir, block: int) -> MeshLayout:
    if settings.port and not tcp_ports.is_free(settings.port):
        raise _taken(settings.port, "gRPC", "--port")
    if settings.http_port and not tcp_ports.is_free(settings.http_port):
        raise _taken(settings.http_port, "HTTP", "--http-port")
    has_metrics = settings.with_metrics and all(map(importlib.util.find_spec, _METRICS_NEEDS))
    if has_metrics and settings.console_port and not tcp_ports.is_free(settings.console_port):
        raise _taken(settings.console_port, "console", "--console-port")
    workers = max(settings.workers, settings.workers_max)
    names = port_names(workers)
    public = (("edge", settings.port), ("http", settings.http_port), ("console", settings.console_port))
    names += [name for name, port in public if not port]
    chosen = ports.chosen(
        names, block=block, previous=data_dir.ports(), is_free=tcp_ports.is_free_with_offset
    )
    data_dir.keep_ports(chosen)
    return MeshLayout(
        data_dir=data_dir.path,
        workers=workers,
        cpus=os.cpu_count() or 1,
        has_optimizer=all(importlib.util.find_spec(module) for module in _OPTIMIZER_NEEDS),
        has_metrics=has_metrics,
        edge_address=f"{_HOST}:{settings.port or chosen['edge']}",
        http_address=f"{_HOST}:{settings.http_port or chosen['http']}",
        console_address=f"{_HOST}:{settings.console_port or chosen['console']}",
        ports=chosen,
        secrets=data_dir.secrets(),
        programs=_programs(),
    )


def _programs() -> Programs:
    scripts = Path(sysconfig.get_path("scripts"))
    found = Programs(
        # -P: nothing that lies in the folder it starts in is imported.
        python=(sys.executable, "-P"),
        nats_server=str(scripts / "nats-server"),
        weed=str(scripts / "weed"),
        envoy=envoy_path(),
    )
    missing = [path for path in (found.nats_server, found.weed, found.envoy) if not os.access(path, os.X_OK)]
    if missing:
        raise RefusedError(f"{missing[0]} is missing. Install it with `pip install 'servemesh[local]'`.")
    return found


def _prepare(data_dir: DataDir, mesh: plan.MeshPlan) -> None:
    for folder in mesh.folders:
        folder.mkdir(parents=True, exist_ok=True)
    for path, text in mesh.files.items():
        data_dir.write(path, text)
    for path in mesh.stale:
        path.unlink(missing_ok=True)


def _first_status(
    layout: MeshLayout, mesh: plan.MeshPlan, launcher: OsLauncher, metrics_address: str
) -> MeshStatus:
    return MeshStatus(
        pid=os.getpid(),
        start_time=SystemClock().now().isoformat(timespec="milliseconds"),
        data_dir=str(layout.data_dir),
        address=layout.edge_address,
        metrics_address=metrics_address,
        http_address=layout.http_address,
        console_address=layout.console_address if layout.has_metrics else "",
        processes=tuple(
            ProcessStatus(name=spec.name, address=spec.address, log=str(launcher.log_path(spec.name)))
            for spec in mesh.processes
        ),
    )


def _taken(port: int, what: str, option: str) -> RefusedError:
    return RefusedError(
        f"port {port} of {_HOST}, where the mesh's {what} address is to be, is taken by another process. "
        f"End that process or choose another port with {option}."
    )


def main() -> int:
    """Run until SIGTERM or SIGINT; return the exit status."""
    try:
        settings = Settings()
    except ValidationError as error:
        print(wrong_setting(Settings, error), file=sys.stderr)  # noqa: T201
        return EXIT_USAGE
    try:
        with logging_to("local", "local"):
            asyncio.run(run(settings))
    except RefusedError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return EXIT_REFUSED
    return 0


if __name__ == "__main__":
    sys.exit(main())
