"""TensorFlow SavedModel folders: converted in TensorFlow's environment."""

from __future__ import annotations

from servemesh.optimizer.adapters.converters import tensorflow_process
from servemesh.optimizer.adapters.converters.converted import Converted, Task


def convert(task: Task) -> Converted:
    """Satisfies converted.Converter."""
    return tensorflow_process.convert(task, "saved_model")
