"""Keras 3 archives (.keras): checked here, converted in TensorFlow's environment."""

from __future__ import annotations

from dataclasses import replace

from servemesh.optimizer.adapters.converters import archives, tensorflow_process
from servemesh.optimizer.adapters.converters.converted import Converted, Task
from servemesh.optimizer.domain import keras_archives

CONFIG_BYTES_MAX = 64 * 1024**2


def convert(task: Task) -> Converted:
    """Satisfies converted.Converter."""
    with archives.opened(task.source) as archive:
        keras_archives.check_config(archives.read(archive, "config.json", CONFIG_BYTES_MAX))
    copy = task.folder / "model.keras"  # Keras goes by the ending of the name
    copy.symlink_to(task.source.absolute())
    return tensorflow_process.convert(replace(task, source=copy), "keras")
