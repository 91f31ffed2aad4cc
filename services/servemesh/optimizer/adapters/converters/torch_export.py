"""torch.export programs (.pt2): read as data, exported by torch itself."""

from __future__ import annotations

import onnx

from servemesh.optimizer.adapters.converters import torch_archive, torch_onnx
from servemesh.optimizer.adapters.converters.converted import Converted, Task, versions


def convert(task: Task) -> Converted:
    """Satisfies converted.Converter."""
    program = torch_archive.load(task.source, task.folder)
    task.report.progress(0.2, "exporting the torch program")
    torch_onnx.write(program, task.target, task.opset)
    names = [value.name for value in onnx.load(task.target, load_external_data=False).graph.output]
    return Converted(
        reference=torch_onnx.reference(program, names),
        generated=torch_onnx.generated(program),
        batch_rows_max=torch_onnx.batch_rows_max(program),
        warnings=torch_onnx.fixed_batch_warning(program),
        libraries=versions("torch", "onnxscript"),
    )
