"""A model that is asked, never trained: it runs in onnxruntime, so it may be anything that can be served."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from servemesh.errors import InvalidError
from servemesh.runtime.sessions import RuntimeOptions, open_session

Array = np.ndarray[Any, Any]
_NUMBERS = ("tensor(float)", "tensor(double)", "tensor(float16)")
_TENSOR = "tensor("


class Teacher:
    """Answers rows with all outputs that are tensors."""

    def __init__(self, session: ort.InferenceSession) -> None:
        self._session = session

    @classmethod
    def open(cls, path: Path, threads: int) -> Teacher:
        """Load the model."""
        return cls(open_session(path, RuntimeOptions(threads=threads)))

    def check_inputs(self, inputs: Mapping[str, Array]) -> None:
        """InvalidError unless these inputs are what the model takes."""
        wanted = {value.name for value in self._session.get_inputs()}
        if wanted != set(inputs):
            raise InvalidError(
                f"The teacher takes inputs {sorted(wanted)} and the student {sorted(inputs)}; both must be the same.",
                reason="TEACHER_UNFIT",
                field="teacher",
                expected=sorted(inputs),
                got=sorted(wanted),
            )

    def answers(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Return the outputs that hold numbers with a fraction, as 32-bit floats: what can be learned from."""
        return {name: value.astype(np.float32) for name, value in self._run(inputs, _NUMBERS).items()}

    def all_answers(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Return every output that is a tensor, texts and numbers of classes too."""
        return self._run(inputs, (_TENSOR,))

    def _run(self, inputs: Mapping[str, Array], kinds: tuple[str, ...]) -> dict[str, Array]:
        names = [value.name for value in self._session.get_outputs() if value.type.startswith(kinds)]
        if not names:
            return {}
        values = self._session.run(
            names, {name: np.ascontiguousarray(array) for name, array in inputs.items()}
        )
        return dict(zip(names, values, strict=True))
