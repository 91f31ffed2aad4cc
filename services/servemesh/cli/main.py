"""The `servemesh` command line: its commands, and what its exit status says."""

from __future__ import annotations

import sys

import typer

from servemesh.cli import output
from servemesh.cli.commands import (
    alerts,
    analysing,
    autoscaling,
    catalogue,
    datasets,
    jobs,
    local_mesh,
    mesh_reports,
    metrics,
    models,
    optimizing,
    report,
    serving,
    status,
    top,
)
from servemesh.errors import InvalidError, ServemeshError

EXIT_REFUSED = 1
EXIT_USAGE = 64
_CLICK_USAGE = 2

app = typer.Typer(
    name="servemesh",
    help="Serve trained models from a mesh of your own.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
app.command("up")(local_mesh.up)
app.command("down")(local_mesh.down)
app.command("status")(status.status)
app.command("logs")(local_mesh.logs)
app.command("autoscale")(autoscaling.autoscale)
app.command("top")(top.top)
app.command("deploy")(serving.deploy)
app.command("undeploy")(serving.undeploy)
app.command("infer")(serving.infer)
app.command("convert")(optimizing.convert)
app.command("optimize")(optimizing.optimize)
app.command("evaluate")(optimizing.evaluate)
app.add_typer(models.app, name="model")
app.add_typer(datasets.app, name="dataset")
app.add_typer(jobs.app, name="job")
app.add_typer(report.app, name="report")
report.app.command("mesh")(mesh_reports.mesh)
report.app.command("model")(mesh_reports.model)
report.app.command("ls")(mesh_reports.ls)
report.app.command("get")(mesh_reports.get)
app.add_typer(alerts.alert_app, name="alert")
app.add_typer(alerts.silence_app, name="silence")
app.add_typer(metrics.app, name="metrics")
for command in analysing.COMMANDS:
    metrics.app.command()(command)
app.add_typer(catalogue.pass_app, name="pass")
app.add_typer(catalogue.recipe_app, name="recipe")


def main() -> None:
    """Run the command line. Exit status: 0 done, 1 refused with a reason, 64 wrong usage, 130 interrupted."""
    try:
        app()
    except SystemExit as stop:
        if stop.code != _CLICK_USAGE:
            raise
        if "--json" in sys.argv:
            output.print_json({"error": {"reason": "USAGE", "message": _complaint(stop), "metadata": {}}})
        sys.exit(EXIT_USAGE)
    except ServemeshError as error:
        output.print_error(error, as_json="--json" in sys.argv)
        sys.exit(EXIT_USAGE if _is_usage(error) else EXIT_REFUSED)
    except KeyboardInterrupt:
        sys.exit(130)


def _complaint(stop: SystemExit) -> str:
    """Return what the parser of the command line has just said on stderr."""
    said = getattr(stop.__context__, "format_message", None)
    return str(said()) if said else "wrong usage"


def _is_usage(error: ServemeshError) -> bool:
    return isinstance(error, InvalidError) and error.reason in ("OPTION_MALFORMED", "TARGET_MALFORMED")


if __name__ == "__main__":
    main()
