"""Options that several commands have, and the clients they lead to."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from servemesh.cli.settings import Settings
from servemesh.client import Client, RetryPolicy
from servemesh.errors import InvalidError, ServemeshError

_COMPLETION_S = 1.0


def _default_address() -> str:
    return Settings().address


def _default_data_dir() -> Path:
    return Settings().data_dir


def model_names(incomplete: str) -> list[str]:
    """Return the models that a shell may complete a word to; none if the mesh does not answer."""
    try:
        with Client(addresses(_default_address()), retry=RetryPolicy(attempts_max=1)) as client:
            found = client.models(timeout_s=_COMPLETION_S)
    except ServemeshError:
        return []
    return [model.model for model in found if model.model.startswith(incomplete)]


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
