"""`servemesh pass ls` and `servemesh recipe ls`: what the optimizer can do."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from rich.markup import escape

from servemesh.cli import output
from servemesh.cli.options import Address, AsJson, connected

pass_app = typer.Typer(help="Passes: what can be done to a model.", no_args_is_help=True)
recipe_app = typer.Typer(help="Recipes: named sequences of passes.", no_args_is_help=True)


@pass_app.command("ls")
def list_passes(
    address: Address,
    parameters: Annotated[
        bool, typer.Option("--parameters", "-p", help="With the parameters of each.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """List the passes with what they do to which models."""
    with connected(address) as client:
        found = client.optimizer.passes()
    if as_json:
        output.print_json(found)
        return
    for each in found:
        needs = "trains" if each.trains else "calibrates" if each.calibrates else ""
        mark = f" [yellow]{needs}[/yellow]" if needs else ""
        output.out.print(f"[bold]{each.pass_id}[/bold]{mark}")
        output.out.print(f"  {escape(each.description)}")
        output.out.print(f"  [dim]{escape(each.origin)}[/dim]")
        for parameter in each.parameters if parameters else ():
            output.out.print(
                f"    {parameter.name} = {escape(json.dumps(parameter.default))}  "
                f"[dim]{parameter.type}. {escape(parameter.description)}[/dim]"
            )


@recipe_app.command("ls")
def list_recipes(address: Address, as_json: AsJson = False) -> None:
    """List the recipes."""
    with connected(address) as client:
        found = client.optimizer.recipes()
    if as_json:
        output.print_json(found)
        return
    rows = [
        (each.recipe, " + ".join(step.pass_id for step in each.steps), each.description) for each in found
    ]
    rows.append(("auto", "as measured", "Tries what can help on this hardware and returns the Pareto front."))
    output.print_table(("RECIPE", "PASSES", "DESCRIPTION"), rows, empty="No recipes.")
