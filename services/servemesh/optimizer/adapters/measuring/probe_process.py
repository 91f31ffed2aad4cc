"""The measuring side of a probe: starts the process of one model, asks it one thing at a time, ends it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any

from servemesh.errors import ServemeshError
from servemesh.optimizer.adapters.child import messages

_MODULE = "servemesh.optimizer.adapters.measuring.probe"
_END_TIMEOUT_S = 5


class ProbeProcess:
    """A fresh process for one model. It belongs to our process group and ends with it, or with our end of the pipe."""

    def __init__(self, model_id: str, folder: Path) -> None:
        self._model_id = model_id
        self._process = subprocess.Popen(
            [sys.executable, "-m", _MODULE, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> ProbeProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._process.communicate(timeout=_END_TIMEOUT_S)
        except (subprocess.TimeoutExpired, OSError):
            self._process.kill()
            self._process.communicate()

    def ask(self, what: str, **details: object) -> dict[str, Any]:
        """Have it do something and return its answer; its typed error, or MODEL_CRASHED if it dies of it."""
        orders, answers = self._process.stdin, self._process.stdout
        assert orders is not None
        assert answers is not None
        try:
            orders.write(json.dumps({"do": what, **details}) + "\n")
            orders.flush()
        except BrokenPipeError:
            pass  # it has died; what it did not answer says so
        line = answers.readline()
        if not line.endswith("\n"):
            raise ServemeshError(
                f"the runtime died with model {self._model_id!r} (exit status {self._process.wait()})",
                reason="MODEL_CRASHED",
                field=self._model_id,
                status=self._process.wait(),
            )
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise messages.to_error(answer["error"]) or ServemeshError("the model could not be measured")
        return answer
