"""Trial runs of a model that was just opened: the first calls are fast, and batching is seen to work."""

from __future__ import annotations

import asyncio
import logging

import numpy as np

from servemesh.errors import ServemeshError
from servemesh.observe import names
from servemesh.tensors.datatypes import DATATYPES
from servemesh.worker.domain.signature import Signature, TensorSpec
from servemesh.worker.domain.versions import Version
from servemesh.worker.service.execution import Array, Runtime, Stop

TRIAL_ROWS = 2

_log = logging.getLogger(__name__)


async def warmed(runtime: Runtime, version: Version) -> bool:
    """Run the model on zeros; return whether rows of several calls may run together.

    A model that refuses zeros is still served: its callers send better values.
    """
    stop = Stop()
    try:
        return await asyncio.to_thread(_trials, runtime, version, stop)
    finally:
        stop.stop()  # on timeout or cancellation the thread is not kept


def _trials(runtime: Runtime, version: Version, stop: Stop) -> bool:
    signature = version.signature
    alone = _rows_back(runtime, signature, 1, stop)
    if isinstance(alone, ServemeshError):
        _log.warning(names.WARMUP_FAILED, extra={"version": version.name, "reason": alone.reason})
        return signature.batchable
    if not signature.batchable:
        return False
    together = _rows_back(runtime, signature, TRIAL_ROWS, stop)
    batchable = together == {TRIAL_ROWS}
    if not batchable:
        _log.warning(names.WARMUP_NOT_BATCHABLE, extra={"version": version.name})
    return batchable


def _rows_back(runtime: Runtime, signature: Signature, rows: int, stop: Stop) -> set[int] | ServemeshError:
    inputs = {spec.name: _zeros(spec, rows) for spec in signature.inputs if not spec.optional}
    try:
        outputs = runtime.run(inputs, [spec.name for spec in signature.outputs], stop)
    except ServemeshError as error:
        return error
    return {output.shape[0] if output.ndim else -1 for output in outputs}


def _zeros(spec: TensorSpec, rows: int) -> Array:
    shape = [1 if size < 0 else size for size in spec.shape]
    if shape and spec.shape[0] < 0:
        shape[0] = rows
    if spec.datatype == "BYTES":
        return np.full(shape, b"", dtype=object)
    return np.zeros(shape, dtype=DATATYPES[spec.datatype].dtype)
