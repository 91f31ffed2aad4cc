"""The task "convert": finds out what a source is, makes ONNX of it, and proves that it is the same model."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnx

from servemesh.errors import InvalidError
from servemesh.optimizer.adapters.converters import proof, source_files
from servemesh.optimizer.adapters.converters.converted import MATRIX, Converter, Task, versions
from servemesh.optimizer.adapters.datasets.rows import Rows
from servemesh.optimizer.domain import sources
from servemesh.optimizer.domain.sources import SourceFormat
from servemesh.optimizer.domain.work import Report

TOLERANCE = 1e-4
_MODULES: Mapping[SourceFormat, str] = {
    SourceFormat.TORCH_EXPORT: "torch_export",
    SourceFormat.HUGGING_FACE: "hugging_face",
    SourceFormat.KERAS: "keras_archive",
    SourceFormat.TENSORFLOW: "saved_model",
    SourceFormat.SKLEARN: "skops_estimator",
    SourceFormat.XGBOOST: "xgboost_trees",
    SourceFormat.LIGHTGBM: "lightgbm_trees",
}


def run(arguments: dict[str, Any], folder: Path, report: Report) -> dict[str, Any]:
    """Convert `arguments["source"]` to `arguments["out"]`; see the contract of child tasks."""
    source, target = folder / arguments["source"], folder / arguments["out"]
    report.progress(0.0, "looking at the source")
    found = sources.recognise(source_files.samples(source), arguments.get("format") or "")
    data = folder / arguments["data"] if arguments.get("data") else None
    scratch = folder / "scratch"
    for new in (scratch, target.parent):
        new.mkdir(parents=True, exist_ok=True)
    task = Task(
        source=source / found.path if source.is_dir() else source,
        target=target,
        folder=scratch,
        report=report,
        opset=_opset(arguments.get("opset") or 0),
        environments=Path(arguments["environments"]),
        matrix_name=_matrix_name(data),
    )
    report.log(f"The source is {found.format.value}.")
    report.progress(0.05, f"reading the {found.format.value} program")
    converted = _converter(found.format)(task)
    report.progress(0.7, "comparing with the source")
    proved = proof.prove(target, converted, data)
    proof.check(proved, arguments.get("tolerance") or TOLERANCE)
    report.progress(1.0, "converted")
    left_out = [f"{path} is a pickle; it was not opened." for path in found.left_out]
    return {
        "format": found.format.value,
        "parity": {
            "row_count": proved.parity.row_count,
            "generated": proved.generated,
            "max_abs": proved.parity.max_abs,
            "max_rel": proved.parity.max_rel,
            "argmax_agreement": proved.parity.argmax_agreement,
        },
        "warnings": [*left_out, *converted.warnings, *proved.notes],
        "libraries": {**versions("onnx", "onnxruntime"), **converted.libraries},
        "files": sorted(path.name for path in target.parent.iterdir() if path != target),
    }


def _converter(source_format: SourceFormat) -> Converter:
    """Import the converter only when it is needed: frameworks take seconds to import."""
    module = importlib.import_module(f"servemesh.optimizer.adapters.converters.{_MODULES[source_format]}")
    convert: Converter = module.convert
    return convert


def _matrix_name(data: Path | None) -> str:
    """Return what a matrix of features is called: as the only column of the dataset that is no label."""
    names = [column.name for column in Rows.open(data).columns if not column.label] if data else []
    return names[0] if len(names) == 1 else MATRIX


def _opset(wanted: int) -> int:
    newest = onnx.defs.onnx_opset_version()
    if wanted and not 13 <= wanted <= newest:
        raise InvalidError(
            f"opset {wanted} is asked for, expected 13 to {newest} or none",
            reason="OPSET_INVALID",
            field="opset",
            expected=f"13 to {newest}",
            got=wanted,
        )
    return wanted
