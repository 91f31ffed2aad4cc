"""Runs one pass on one model and lets nothing out that would not serve."""

from __future__ import annotations

import importlib
import shutil
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

from servemesh.errors import InvalidError
from servemesh.optimizer.adapters.datasets.rows import Rows
from servemesh.optimizer.adapters.passes import checking
from servemesh.optimizer.adapters.passes.context import PassContext
from servemesh.optimizer.domain.passes.catalogue import PASSES, PassSpec
from servemesh.optimizer.domain.passes.parameters import parse_parameters
from servemesh.optimizer.domain.work import Report

Apply = Callable[[Path, Path, Any, PassContext], list[str]]


def run(arguments: dict[str, Any], folder: Path, report: Report) -> dict[str, Any]:
    """Apply the pass that `arguments` name; the result is at `out` only if it was checked."""
    spec = PASSES[arguments["pass"]]
    parameters = parse_parameters(spec, arguments["parameters"])
    context = PassContext(
        data=Rows.open(folder / arguments["data"]) if arguments["data"] else None,
        teacher=folder / arguments["teacher"] if arguments["teacher"] else None,
        seed=arguments["seed"],
        threads=arguments["threads"],
        report=report,
    )
    source, target = (folder / arguments[name] for name in ("model", "out"))
    notes = apply_pass(spec, source.absolute(), target.absolute(), parameters, context)
    return {"notes": notes, "libraries": {name: metadata.version(name) for name in spec.libraries}}


def apply_pass(
    spec: PassSpec, source: Path, target: Path, parameters: Any, context: PassContext
) -> list[str]:
    """Write the model at `source`, after the pass, to the folder of `target`, which must not be there yet."""
    if context.data is None and (spec.calibrates or spec.trains):
        raise InvalidError(
            f"pass {spec.pass_id} looks at rows, and there is no dataset: name one",
            reason="PASS_NEEDS_ROWS",
            field="dataset",
            expected="a dataset",
            got="none",
            **{"pass": spec.pass_id},
        )
    draft = target.parent.with_name(f"{target.parent.name}.draft") / target.name
    shutil.rmtree(draft.parent, ignore_errors=True)
    draft.parent.mkdir(parents=True)
    context.report.progress(0.0, spec.pass_id)
    module = importlib.import_module(f"servemesh.optimizer.adapters.passes.{spec.pass_id}")
    apply: Apply = module.apply
    notes = apply(source, draft, parameters, context)
    context.report.progress(0.95, "checking the result")
    notes += checking.check(spec.pass_id, source, draft, context)
    draft.parent.rename(target.parent)
    return notes
