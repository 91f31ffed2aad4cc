"""Compares a converted model with its source, run in its own framework, on the same rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime as ort

from servemesh.errors import InvalidError, ServemeshError
from servemesh.optimizer.adapters.converters import faults
from servemesh.optimizer.adapters.converters.converted import Array, Converted, Inputs
from servemesh.optimizer.adapters.datasets.rows import Rows
from servemesh.optimizer.domain import generating
from servemesh.optimizer.domain.feeding import feeder
from servemesh.optimizer.domain.parity import Parity, ParityTally
from servemesh.optimizer.domain.splits import Split
from servemesh.runtime import sessions, values

ROWS_MAX = 256
BATCH_ROWS = 32
GENERATED_BATCHES = (1, 8, 32)  # rows of each
SEED = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """How near the model is to its source; `generated` says that no dataset gave the rows."""

    parity: Parity
    generated: bool
    notes: tuple[str, ...] = ()


def prove(model: Path, converted: Converted, data: Path | None) -> Proof:
    """Run both models on rows of `data`, or on generated ones, and compare all outputs."""
    session = sessions.open_session(model, sessions.RuntimeOptions())
    inputs = values.specs_of(session.get_inputs())
    outputs = [spec.name for spec in values.specs_of(session.get_outputs())]
    notes: tuple[str, ...] = ()
    if data is not None:
        batches, notes = _dataset_batches(Rows.open(data), inputs, converted.batch_rows_max)
    else:
        batches = _generated_batches(converted, inputs)
    run = values.runner(session, [*inputs, *values.specs_of(session.get_outputs())])
    batches = batches[: converted.batches_max]
    tally = ParityTally()
    for batch, expected in zip(batches, _expected(converted, batches), strict=True):
        tally.add(expected, _run(run, outputs, batch, inputs), row_count=_row_count(batch, inputs))
    return Proof(parity=tally.parity(), generated=data is None, notes=notes)


def check(proof: Proof, tolerance: float) -> None:
    """InvalidError with reason PARITY_EXCEEDED if the difference is more than `tolerance` of the largest output."""
    parity = proof.parity
    if parity.max_rel <= tolerance:
        return
    rows = "generated rows" if proof.generated else "rows of the dataset"
    raise InvalidError(
        f"the ONNX model differs from its source by {parity.max_rel:.3g} of the largest output ({parity.max_abs:.3g} "
        f"in absolute terms) on {parity.row_count} {rows}, accepted are {tolerance:.3g}: check on rows of your own "
        "(--dataset), set another opset, or accept more (tolerance)",
        reason="PARITY_EXCEEDED",
        field="tolerance",
        expected=tolerance,
        got=parity.max_rel,
        max_abs=parity.max_abs,
        argmax_agreement=parity.argmax_agreement,
        row_count=parity.row_count,
    )


def _expected(converted: Converted, batches: Sequence[Inputs]) -> Iterator[dict[str, Array]]:
    try:
        yield from converted.reference(batches)
    except (ServemeshError, MemoryError):
        raise
    except Exception as error:  # frameworks raise whatever the values make them meet
        raise InvalidError(
            f"the source itself fails on these rows ({faults.shown(error)}): give a dataset of rows that it takes",
            reason="SOURCE_RUN_FAILED",
            field="dataset",
        ) from error


def _run(
    run: values.Run, outputs: Sequence[str], batch: Inputs, inputs: Sequence[values.ValueSpec]
) -> dict[str, Array]:
    texts = {spec.name for spec in inputs if spec.datatype == "BYTES"}
    fed = {
        name: values.as_text(name, array) if name in texts else np.ascontiguousarray(array)
        for name, array in batch.items()
    }
    try:
        return dict(zip(outputs, run(outputs, fed, ort.RunOptions()), strict=True))
    except Exception as error:
        raise values.failure_of_run(error) from error


def _dataset_batches(
    rows: Rows, inputs: Sequence[values.ValueSpec], batch_rows_max: int
) -> tuple[list[Inputs], tuple[str, ...]]:
    """Rows of the evaluate split, or of whichever has rows, as inputs of the model: batches of one size."""
    feeding = feeder(rows.columns, inputs)
    split = max(Split, key=lambda each: (rows.count(each) > 0, each is Split.EVALUATE))
    fixed = generating.fixed_rows(inputs)
    rows.check_enough(split, fixed or 1)
    count = min(ROWS_MAX, rows.count(split))
    size = fixed or min(BATCH_ROWS, batch_rows_max, count)
    batches = rows.batches(split, size, rows_max=max(1, count // size) * size)
    return [feeding.inputs(batch.inputs) for batch in batches], feeding.notes


def _generated_batches(converted: Converted, inputs: Sequence[values.ValueSpec]) -> list[Inputs]:
    size = generating.fixed_rows(inputs)
    counts = GENERATED_BATCHES if size is None else (size,)
    if converted.generated is not None:
        random = np.random.default_rng(SEED)
        return [converted.generated(random, count) for count in counts]
    return [generating.generated(inputs, count, seed=SEED + count, ids_ends={}) for count in counts]


def _row_count(batch: Inputs, inputs: Sequence[values.ValueSpec]) -> int:
    return next((len(batch[spec.name]) for spec in inputs if spec.shape), 1)
