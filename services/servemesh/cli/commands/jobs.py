"""`servemesh job`: ls, show, cancel, logs, rm; and how a command waits for the job that it asked for."""

from __future__ import annotations

import time
from typing import Annotated

import typer
from rich.markup import escape

from servemesh.cli import job_output, output
from servemesh.cli.options import Address, AsJson, JobName, Wait, connected
from servemesh.client import Client, Conversion, LogLine, Optimization
from servemesh.client.jobs import AnyJob
from servemesh.errors import MissingError

app = typer.Typer(help="Conversions, optimizations and evaluations.", no_args_is_help=True)

_TIME = "%Y-%m-%d %H:%M:%S"
_WAIT_S = 7 * 24 * 3600.0
_POLL_S = 0.5
_EXIT_REFUSED = 1


@app.command()
def ls(address: Address, as_json: AsJson = False) -> None:
    """List the jobs, newest first."""
    with connected(address) as client:
        found = client.optimizer.list_jobs()
    if as_json:
        output.print_json(found)
        return
    rows = (
        (
            each.name,
            each.job.state,
            f"{each.job.progress_percent:.0f} %",
            each.model,
            each.dataset,
            each.job.create_time.strftime(_TIME),
            each.job.error.reason if each.job.error else each.job.step,
        )
        for each in found
    )
    columns = ("JOB", "STATE", "DONE", "MODEL", "DATASET", "CREATED (UTC)", "STEP")
    output.print_table(columns, rows, empty="No jobs yet: see `servemesh optimize --help`.")


@app.command()
def show(job: JobName, address: Address, wait: Wait = False, as_json: AsJson = False) -> None:
    """Show a job with what it found."""
    with connected(address) as client:
        found = named(client, job)
        if wait:
            finish(client, found, wait=True, as_json=as_json)
        elif as_json:
            output.print_json(found)
        else:
            job_output.print_job(found, defaults_of(client), output.out)


@app.command()
def cancel(job: JobName, address: Address, as_json: AsJson = False) -> None:
    """Stop a job; it ends within seconds and registers nothing."""
    with connected(address) as client:
        found = client.optimizer.cancel(named(client, job).name)
    if as_json:
        output.print_json(found)
    else:
        state = found.state if found.is_ended else "being cancelled"
        output.out.print(f"{found.name} is {state}")


@app.command()
def logs(
    job: JobName,
    address: Address,
    follow: Annotated[
        bool, typer.Option("-f", "--follow", help="Go on with what is logged until the job has ended.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Print the log of a job."""
    with connected(address) as client:
        name = named(client, job).name
        lines, after = client.optimizer.log(name)
        if as_json:
            output.print_json({"job": name, "lines": lines})
            return
        _print_lines(lines)
        while follow and after:
            time.sleep(_POLL_S)
            lines, after = client.optimizer.log(name, after=after)
            _print_lines(lines)


@app.command()
def rm(job: JobName, address: Address, as_json: AsJson = False) -> None:
    """Delete a job that has ended, with its log; versions that it made stay."""
    with connected(address) as client:
        name = named(client, job).name
        client.optimizer.remove_job(name)
    if as_json:
        output.print_json({"removed": name})
    else:
        output.out.print(f"removed {name}")


def finish(client: Client, asked: AnyJob, *, wait: bool, as_json: bool) -> None:
    """Print the job that was asked for, after its end if `wait`; exit status 1 unless it brought what was asked."""
    if not wait:
        if as_json:
            output.print_json(asked)
        else:
            output.out.print(
                f"{asked.name} is {output.state_text(asked.job.state)}; `servemesh job show "
                f"{asked.name} --wait` waits for it",
                soft_wrap=True,
            )
        return
    try:
        with job_output.job_bar(shown=not as_json) as told:
            found = client.optimizer.wait(asked.name, on_change=told, wait_s=_WAIT_S)
    except KeyboardInterrupt:
        output.err.print(
            f"{asked.name} goes on in the background; `servemesh job cancel {asked.name}` stops it",
            soft_wrap=True,
        )
        raise
    if as_json:
        output.print_json(found)
    else:
        job_output.print_job(found, defaults_of(client), output.out)
        _print_next(found)
    if not brought(found):
        raise typer.Exit(_EXIT_REFUSED)


def brought(found: AnyJob) -> bool:
    """Whether a job that has ended brought what was asked: for an optimization, a variant that was accepted."""
    if found.job.state != "SUCCEEDED":
        return False
    if isinstance(found, Optimization):
        return found.result is not None and any(variant.accepted for variant in found.result.variants)
    return True


def defaults_of(client: Client) -> job_output.Defaults:
    """Return the defaults of every pass's parameters."""
    return {
        each.pass_id: {parameter.name: parameter.default for parameter in each.parameters}
        for each in client.optimizer.passes()
    }


def _print_next(found: AnyJob) -> None:
    if isinstance(found, Conversion) and found.result:
        output.out.print(f"Next: servemesh deploy {found.model} --wait 60")
    if isinstance(found, Optimization) and found.result:
        best = next((variant for variant in found.result.variants if variant.version), None)
        if best is None:
            output.out.print("No variant was accepted, so nothing was registered.")
        else:
            target = found.alias or best.version
            output.out.print(f"Next: servemesh deploy {found.model}@{target} --wait 60")


def named(client: Client, name: str) -> AnyJob:
    """Return the job of that name, or with that last part of its name."""
    if "/" in name:
        return client.optimizer.job(name)
    found = next((each for each in client.optimizer.list_jobs() if each.name.endswith(f"/{name}")), None)
    if found is None:
        raise MissingError(
            f"there is no job {name!r}; `servemesh job ls` shows those that there are",
            reason="JOB_MISSING",
            name=name,
        )
    return found


def _print_lines(lines: list[LogLine]) -> None:
    for line in lines:
        stamp = line.time.strftime("%H:%M:%S")
        output.out.print(f"[dim]{stamp}[/dim] {escape(line.text)}", soft_wrap=True)
