"""`servemesh report`: what an optimization or an evaluation found, as a page, as Markdown or as JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from servemesh.cli import job_output, output
from servemesh.cli.commands.jobs import defaults_of, named
from servemesh.cli.options import Address, AsJson, JobName, connected
from servemesh.cli.reports import pages
from servemesh.cli.reports.contents import Report
from servemesh.client import Client, Conversion, Evaluation, Optimization, Parity
from servemesh.errors import ConflictError, InvalidError, MissingError

app = typer.Typer(help="Reports.", no_args_is_help=True)

_Html = Annotated[
    Path | None, typer.Option("--html", metavar="FILE", help="Write one page that needs nothing else.")
]
_Markdown = Annotated[Path | None, typer.Option("--markdown", metavar="FILE", help="Write Markdown.")]


@app.command()
def optimization(
    job: JobName, address: Address, html: _Html = None, markdown: _Markdown = None, as_json: AsJson = False
) -> None:
    """Report what an optimization found; without a file, as Markdown here."""
    _report(job, address, Optimization, html, markdown, as_json=as_json)


@app.command()
def evaluation(
    job: JobName, address: Address, html: _Html = None, markdown: _Markdown = None, as_json: AsJson = False
) -> None:
    """Report what an evaluation found; without a file, as Markdown here."""
    _report(job, address, Evaluation, html, markdown, as_json=as_json)


def _report(
    name: str,
    address: str,
    kind: type[Optimization | Evaluation],
    html: Path | None,
    markdown: Path | None,
    *,
    as_json: bool,
) -> None:
    with connected(address) as client:
        report = _contents(client, name, kind)
    if html:
        html.write_text(pages.html(report))
    if markdown:
        markdown.write_text(pages.markdown(report))
    if as_json:
        output.print_json({"job": report.job, "log": report.log, "parity": report.parity})
    elif html or markdown:
        output.out.print("\n".join(str(path) for path in (html, markdown) if path), soft_wrap=True)
    else:
        output.out.print(pages.markdown(report), markup=False, soft_wrap=True)


def _contents(client: Client, name: str, kind: type[Optimization | Evaluation]) -> Report:
    job = named(client, name)
    if not isinstance(job, kind):
        raise InvalidError(
            f"{job.name} is not an {kind.__name__.lower()}",
            reason="JOB_OF_OTHER_KIND",
            field="JOB",
            got=job.name,
        )
    if job.result is None:
        raise ConflictError(f"{job.name} has found nothing yet", reason="JOB_WITHOUT_RESULT", name=job.name)
    log, _ = client.optimizer.log(job.name)
    return Report(
        job=job,
        result=job_output.with_names(job, job.result),
        defaults=defaults_of(client),
        log=log,
        parity=_parity(client, job.model, job.version),
    )


def _parity(client: Client, model: str, version: int) -> Parity | None:
    """Return the parity of the conversion that a Version came from, if it is still known."""
    try:
        labels = next((each.labels for each in client.versions(model) if each.version == version), {})
        found = (
            client.optimizer.job(labels["servemesh.conversion"]) if "servemesh.conversion" in labels else None
        )
    except MissingError:
        return None
    return found.result.parity if isinstance(found, Conversion) and found.result else None
