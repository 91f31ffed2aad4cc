"""`servemesh model`: push, ls, show, pull, rm, and the aliases."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from servemesh import names as resource_names
from servemesh.cli import output
from servemesh.cli.options import Address, AsJson, ModelName, Target, connected, pairs, split_target
from servemesh.client import Version

app = typer.Typer(help="Models, their versions and aliases.", no_args_is_help=True)
alias_app = typer.Typer(help="Names that point to versions.", no_args_is_help=True)
app.add_typer(alias_app, name="alias")

_TIME = "%Y-%m-%d %H:%M:%S"
_OURS = "servemesh."
"""How labels begin that say how a version was made; --json has them."""


@app.command()
def push(
    name: ModelName,
    path: Annotated[Path, typer.Argument(help="A model file, or a folder with one and its data.")],
    address: Address,
    label: Annotated[list[str] | None, typer.Option(help="KEY=VALUE, kept with the version.")] = None,
    as_json: AsJson = False,
) -> None:
    """Upload a model; it becomes the next version of NAME."""
    labels = pairs(label or [], "--label")
    with connected(address) as client, output.progress_bar(f"push {name}", shown=not as_json) as report:
        version = client.push(name, path, labels=labels, on_progress=report)
    if as_json:
        output.print_json(version)
        return
    output.out.print(
        f"{version.model} version {version.version}: {output.size(version.size_bytes)}, {version.format}, "
        f"{output.signature(version.inputs)} -> {output.signature(version.outputs)}",
        soft_wrap=True,
        markup=False,
    )
    for warning in version.warnings:
        output.err.print(f"[yellow]Note:[/yellow] {escape(warning)}", soft_wrap=True)


@app.command()
def ls(address: Address, as_json: AsJson = False) -> None:
    """List the models."""
    with connected(address) as client:
        found = client.models()
    if as_json:
        output.print_json(found)
        return
    rows = (
        (
            model.model,
            model.latest_version or "",
            model.create_time.strftime(_TIME),
            _joined(dict(model.labels)),
            model.description,
        )
        for model in found
    )
    empty = "No models yet: push one with `servemesh model push NAME PATH`."
    output.print_table(("MODEL", "LATEST", "CREATED (UTC)", "LABELS", "DESCRIPTION"), rows, empty=empty)


@app.command()
def show(name: ModelName, address: Address, as_json: AsJson = False) -> None:
    """Show a model with its versions and aliases."""
    with connected(address) as client:
        versions, aliases = client.versions(name), client.aliases(name)
    if as_json:
        output.print_json({"model": name, "versions": versions, "aliases": aliases})
        return
    names: dict[int, list[str]] = {}
    for alias in aliases:
        names.setdefault(alias.version, []).append(alias.alias)
    rows = (
        (
            version.version,
            ", ".join(names.get(version.version, [])),
            output.size(version.size_bytes),
            version.sha256[:12],
            version.create_time.strftime(_TIME),
            ", ".join(_target(source) for source in version.source_versions),
            _joined({key: text for key, text in version.labels.items() if not key.startswith(_OURS)}),
        )
        for version in versions
    )
    columns = ("VERSION", "ALIASES", "SIZE", "SHA256", "CREATED (UTC)", "MADE FROM", "LABELS")
    output.print_table(columns, rows, empty=f"{name} has no versions yet.")
    if versions:
        output.out.print(f"\n{name} version {versions[0].version}")
        _print_signature(versions[0])


@app.command()
def pull(
    target: Target,
    address: Address,
    folder: Annotated[Path, typer.Option("--to", "-o", help="Where to put the files.")] = Path(),
    as_json: AsJson = False,
) -> None:
    """Download the files of a version; every digest is verified."""
    model, version = split_target(target)
    with connected(address) as client, output.progress_bar(f"pull {model}", shown=not as_json) as report:
        found = client.pull(model, folder, version=version, on_progress=report)
    if as_json:
        output.print_json(found)
        return
    for file in found.files:
        output.out.print(f"{folder / file.path}  {output.size(file.size_bytes)}", soft_wrap=True)


@app.command()
def rm(target: Target, address: Address, as_json: AsJson = False) -> None:
    """Delete a version, or the model with all of them."""
    model, version = split_target(target)
    with connected(address) as client:
        client.remove(model, version=version)
    if as_json:
        output.print_json({"removed": target})
    else:
        output.out.print(f"removed {target}")


@alias_app.command("set")
def set_alias(
    name: ModelName,
    alias: Annotated[str, typer.Argument(help="The alias, for example prod.")],
    version: Annotated[int, typer.Argument(min=1, help="The version it is to point to.")],
    address: Address,
    as_json: AsJson = False,
) -> None:
    """Point an alias to a version; deployments of the alias follow."""
    with connected(address) as client:
        found = client.set_alias(name, alias, version)
    if as_json:
        output.print_json(found)
    else:
        output.out.print(f"{name}@{alias} is now version {found.version}")


@alias_app.command("ls")
def list_aliases(name: ModelName, address: Address, as_json: AsJson = False) -> None:
    """List the aliases of a model."""
    with connected(address) as client:
        found = client.aliases(name)
    if as_json:
        output.print_json(found)
        return
    rows = ((alias.alias, alias.version, alias.update_time.strftime(_TIME)) for alias in found)
    output.print_table(("ALIAS", "VERSION", "SINCE (UTC)"), rows, empty=f"{name} has no aliases.")


@alias_app.command("history")
def alias_history(
    name: ModelName,
    alias: Annotated[str, typer.Argument(help="The alias.")],
    address: Address,
    as_json: AsJson = False,
) -> None:
    """Show where an alias pointed and when, newest first."""
    with connected(address) as client:
        moves = client.alias_history(name, alias)
    if as_json:
        output.print_json(moves)
        return
    rows = ((move.move_time.strftime(_TIME), move.version or "deleted") for move in moves)
    output.print_table(("FROM (UTC)", "VERSION"), rows, empty=f"{name}@{alias} was never set.")


@alias_app.command("rm")
def remove_alias(
    name: ModelName,
    alias: Annotated[str, typer.Argument(help="The alias.")],
    address: Address,
    as_json: AsJson = False,
) -> None:
    """Delete an alias; its history stays."""
    with connected(address) as client:
        client.remove_alias(name, alias)
    if as_json:
        output.print_json({"removed": f"{name}@{alias}"})
    else:
        output.out.print(f"removed {name}@{alias}")


def _print_signature(version: Version) -> None:
    rows = [("input", tensor.name, tensor.datatype, output.shape(tensor)) for tensor in version.inputs]
    rows += [("output", tensor.name, tensor.datatype, output.shape(tensor)) for tensor in version.outputs]
    output.print_table(("", "NAME", "DATATYPE", "SHAPE"), rows, empty="no inputs or outputs")


def _target(version: str) -> str:
    """Return NAME@VERSION, as commands take it."""
    model_id, version_id = resource_names.version_ids(version)
    return f"{model_id}@{version_id}"


def _joined(labels: dict[str, str]) -> str:
    return ", ".join(f"{key}={value}" for key, value in labels.items())
