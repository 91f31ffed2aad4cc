"""Our side of TensorFlow's own environment: asks in_tensorflow.py, which runs there, to convert and to run."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from servemesh.errors import InvalidError, ServemeshError
from servemesh.optimizer.adapters.converters import environment, faults, naming
from servemesh.optimizer.adapters.converters.converted import Array, Converted, Inputs, Task

NAME = "tensorflow"
REQUIREMENTS = Path(__file__).with_name("requirements_tensorflow.txt")
SCRIPT = Path(__file__).with_name("in_tensorflow.py")
BATCHES_MAX = 8
ADVICE = "replace it with layers that tf2onnx knows, or do it before the call, outside of the model"
UNREADABLE = "save it again with the newest TensorFlow and Keras 3"


def convert(task: Task, kind: str) -> Converted:
    """Convert a "keras" archive or a "saved_model" folder."""
    python = environment.made(NAME, REQUIREMENTS, task.environments, task.report)
    task.report.progress(0.4, "converting in TensorFlow's environment")
    order = {"kind": kind, "source": str(task.source.absolute()), "opset": task.opset}
    answer = _asked(python, {**order, "action": "convert"}, task.folder)
    model = onnx.load(task.folder / "model.onnx")
    naming.rename(model, answer["inputs"], answer["outputs"])
    naming.name_rows(model)
    onnx.save(model, task.target)

    def reference(batches: Sequence[Inputs]) -> Iterable[dict[str, Array]]:
        for number, batch in enumerate(batches):
            np.savez(task.folder / f"inputs-{number}.npz", **dict(batch))  # type: ignore[arg-type]
        _asked(python, {**order, "action": "run", "batches": len(batches)}, task.folder)
        for number in range(len(batches)):
            with np.load(task.folder / f"outputs-{number}.npz", allow_pickle=False) as outputs:
                yield {name: outputs[name] for name in answer["outputs"]}

    return Converted(reference=reference, batches_max=BATCHES_MAX, libraries=answer["libraries"])


def _asked(python: Path, request: dict[str, Any], folder: Path) -> dict[str, Any]:
    (folder / "request.json").write_text(json.dumps(request))
    (folder / "result.json").unlink(missing_ok=True)
    done = subprocess.run(
        [str(python), "-I", str(SCRIPT), str(folder.absolute())], stdout=sys.stderr, check=False
    )
    if done.returncode != 0 or not (folder / "result.json").exists():
        raise ServemeshError("TensorFlow's process ended before it answered", reason="CHILD_CRASHED")
    answer: dict[str, Any] = json.loads((folder / "result.json").read_text())
    if "refused" in answer:
        raise _refusal(answer["refused"])
    return answer


def _refusal(refused: dict[str, str]) -> ServemeshError:
    if refused["reason"] == "CONVERSION_FAILED":
        return faults.unsupported(ValueError(refused["message"]), "TensorFlow", ADVICE)
    message = refused["message"]
    if refused["reason"] == "SOURCE_UNREADABLE":
        message = f"TensorFlow cannot read the program ({faults.shown(ValueError(message))}): {UNREADABLE}"
    return InvalidError(message, reason=refused["reason"], field=refused["field"])
