"""`servemesh autoscale`: runs a command whenever the demand needs another number of workers."""

from __future__ import annotations

import shlex
import subprocess
import time
from typing import Annotated

import typer

from servemesh.cli import output
from servemesh.cli.commands.local_mesh import scaling_bounds
from servemesh.cli.options import Address, connected
from servemesh.client import Client
from servemesh.errors import InvalidError, ServemeshError
from servemesh.local.domain.scaling import Scaling, ScalingPolicy

_PLACE = "{workers}"
_AHEAD_S = 900.0
_COMMAND_S = 600.0


def autoscale(
    bounds: Annotated[str, typer.Argument(metavar="MIN:MAX", help="The least and the most workers.")],
    address: Address,
    command: Annotated[
        str, typer.Option(help="What sets the number of workers, with {workers} in its place.")
    ],
    interval: Annotated[float, typer.Option(metavar="SECONDS", min=1, help="Between two looks.")] = 10.0,
    count: Annotated[
        int | None, typer.Option(min=1, help="Looks, then stop.", show_default="until Ctrl-C")
    ] = None,
) -> None:
    """Follow the demand: run COMMAND when more or fewer workers have been needed for a while."""
    least, most = scaling_bounds(bounds, "MIN:MAX")
    if _PLACE not in command:
        raise InvalidError(
            f"--command has no {_PLACE}, which is where the number of workers goes",
            reason="OPTION_MALFORMED",
            field="--command",
            expected=_PLACE,
        )
    policy, scaling = ScalingPolicy(workers_min=least, workers_max=most), None
    with connected(address) as client:
        while count is None or count > 0:
            there, needed = _look(client)
            if scaling is None and there is not None:
                scaling = Scaling(wanted=policy.clipped(there))
            if scaling is not None:
                scaling = _followed(scaling, needed, policy, command)
            count = None if count is None else count - 1
            if count != 0:
                time.sleep(interval)


def _look(client: Client) -> tuple[int | None, int | None]:
    """Return how many workers there are and how many are needed; None where that cannot be known."""
    try:
        found = client.metrics.capacity(horizon_s=_AHEAD_S)
    except ServemeshError as error:
        output.err.print(f"nothing is done: {output.explained(error)}", soft_wrap=True)
        return None, None
    return found.worker_count, max(found.needed_now, found.needed_at_peak)


def _followed(scaling: Scaling, needed: int | None, policy: ScalingPolicy, command: str) -> Scaling:
    """Return the state after a look; where the command fails, what was wanted is wanted still."""
    after = scaling.after(time.monotonic(), needed, policy)
    if after.wanted == scaling.wanted:
        return after
    output.out.print(f"{needed} workers are needed: {after.wanted} instead of {scaling.wanted}")
    words = [word.replace(_PLACE, str(after.wanted)) for word in shlex.split(command)]
    try:
        subprocess.run(words, check=True, timeout=_COMMAND_S)
    except (OSError, subprocess.SubprocessError) as error:
        output.err.print(f"the command failed, it is tried again: {error}", soft_wrap=True, markup=False)
        return Scaling(wanted=scaling.wanted, changed_s=after.changed_s)
    return after
