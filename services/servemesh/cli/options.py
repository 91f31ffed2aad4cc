"""Options that several commands have, and the clients they lead to."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from servemesh.cli.settings import Settings
from servemesh.client import Client, RetryPolicy
from servemesh.client.asking import AUTO
from servemesh.errors import InvalidError, ServemeshError

_COMPLETION_S = 1.0


def _default_address() -> str:
    return Settings().address


def _default_data_dir() -> Path:
    return Settings().data_dir


def model_names(incomplete: str) -> list[str]:
    """Return the models that a shell may complete a word to; none if the mesh does not answer."""
    return known(lambda client: [each.model for each in client.models(timeout_s=_COMPLETION_S)], incomplete)


def dataset_names(incomplete: str) -> list[str]:
    """Return the datasets that a shell may complete a word to."""
    return known(
        lambda client: [each.dataset for each in client.optimizer.datasets(timeout_s=_COMPLETION_S)],
        incomplete,
    )


def job_names(incomplete: str) -> list[str]:
    """Return the jobs that a shell may complete a word to."""
    return known(
        lambda client: [each.name for each in client.optimizer.list_jobs(timeout_s=_COMPLETION_S)], incomplete
    )


def recipe_names(incomplete: str) -> list[str]:
    """Return the recipes that a shell may complete a word to."""
    return known(
        lambda client: [
            AUTO,
            *(each.recipe for each in client.optimizer.recipes(timeout_s=_COMPLETION_S)),
        ],
        incomplete,
    )


def known(listed: Callable[[Client], list[str]], incomplete: str) -> list[str]:
    """Return what `listed` finds and begins with `incomplete`; nothing if the mesh does not answer."""
    try:
        with Client(addresses(_default_address()), retry=RetryPolicy(attempts_max=1)) as client:
            return [name for name in listed(client) if name.startswith(incomplete)]
    except ServemeshError:
        return []


Address = Annotated[
    str,
    typer.Option(
        "--address",
        default_factory=_default_address,
        show_default="$SERVEMESH_ADDRESS, or 127.0.0.1:8001",
        help="host:port of the mesh; several, separated by commas, are tried in turn.",
    ),
]
DataDir = Annotated[
    Path,
    typer.Option(
        "--data-dir",
        default_factory=_default_data_dir,
        show_default="$SERVEMESH_DATA_DIR, or ~/.local/share/servemesh",
        help="Folder of the local mesh.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")]
ModelName = Annotated[str, typer.Argument(metavar="NAME", help="The model.", autocompletion=model_names)]
Target = Annotated[
    str,
    typer.Argument(
        metavar="NAME[@VERSION|@ALIAS]",
        help="The model, and optionally one of its versions or aliases.",
        autocompletion=model_names,
    ),
]
DatasetName = Annotated[
    str, typer.Argument(metavar="NAME", help="The dataset.", autocompletion=dataset_names)
]
Dataset = Annotated[
    str,
    typer.Option(metavar="NAME", help="Dataset whose rows are used.", autocompletion=dataset_names),
]
JobName = Annotated[
    str,
    typer.Argument(metavar="JOB", help="Name of the job, or its last part.", autocompletion=job_names),
]
Wait = Annotated[bool, typer.Option("--wait", help="Show the progress and return when the job has ended.")]
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(s|m|h|)")
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600}


def addresses(text: str) -> list[str]:
    """Return the addresses in a comma-separated list."""
    return [part.strip() for part in text.split(",") if part.strip()]


def connected(address: str) -> Client:
    """Return a client of the mesh at `address`; it gives up within about a second where nobody listens."""
    return Client(addresses(address), retry=RetryPolicy(unreachable_s_max=1.0, delay_s_max=0.5))


def split_target(target: str) -> tuple[str, str]:
    """Return model and version (or alias, or nothing) of NAME[@VERSION|@ALIAS]."""
    model, separator, version = target.partition("@")
    if separator and not version:
        raise InvalidError(
            f"{target!r} ends with @: say which version or alias, or leave the @ out",
            reason="TARGET_MALFORMED",
            field="NAME",
            got=target,
        )
    return model, version


def pairs(items: list[str], option: str) -> dict[str, str]:
    """Return the mapping in a list of key=value."""
    found = {}
    for item in items:
        key, separator, value = item.partition("=")
        if not separator or not key:
            raise InvalidError(
                f"{option} is {item!r}, expected KEY=VALUE",
                reason="OPTION_MALFORMED",
                field=option,
                expected="KEY=VALUE",
                got=item,
            )
        found[key] = value
    return found


def long_span_s(text: str, option: str) -> float:
    """Return the seconds in 90s, 5m, 24h or 7d."""
    days = text.strip()
    if days.endswith("d"):
        return 24 * duration_s(f"{days[:-1]}h", option)
    return duration_s(text, option)


def duration_s(text: str | None, option: str) -> float:
    """Return the seconds in 90s, 5m or 1h; 0 if nothing is given."""
    if text is None:
        return 0.0
    found = _DURATION.fullmatch(text.strip())
    if found is None or not float(found[1]):
        raise InvalidError(
            f"{option} is {text!r}, expected a time such as 90s, 5m or 1h",
            reason="OPTION_MALFORMED",
            field=option,
            expected="a time such as 90s, 5m or 1h",
            got=text,
        )
    return float(found[1]) * _SECONDS[found[2]]
