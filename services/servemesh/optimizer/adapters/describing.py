"""The task `describe`: what a model is made of, how many rows there are, and what this processor can multiply."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx
import onnxruntime

from servemesh.optimizer.adapters.datasets.rows import Rows, Split
from servemesh.optimizer.adapters.measuring import model_facts
from servemesh.optimizer.domain.work import Report

_PROCESSORS = Path("/proc/cpuinfo")
_INT8_INSTRUCTIONS = frozenset({"avx512_vnni", "avx_vnni", "amx_int8", "asimddp", "i8mm"})
_ON_PROCESSOR = frozenset({"CPUExecutionProvider", "AzureExecutionProvider"})


def run(arguments: dict[str, Any], folder: Path, report: Report) -> dict[str, Any]:
    """Describe `model` and, if there is one, the data folder `data`."""
    path = folder / arguments["model"]
    graph = onnx.load(path, load_external_data=False).graph
    rows = Rows.open(folder / arguments["data"]) if arguments["data"] else None
    return {
        "operators": dict(Counter(node.op_type for node in _nodes(graph))),
        "size_bytes": model_facts.size_bytes(path),
        "rows": {split.value: rows.count(split) for split in Split} if rows else {},
        "instructions": sorted(_flags() & _INT8_INSTRUCTIONS),
        "accelerators": sorted(set(onnxruntime.get_available_providers()) - _ON_PROCESSOR),
    }


def _nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield from _nodes(attribute.g)


def _flags() -> frozenset[str]:
    try:
        lines = _PROCESSORS.read_text().splitlines()
    except OSError:
        return frozenset()
    listed = (line.partition(":")[2].split() for line in lines if line.startswith(("flags", "Features")))
    return frozenset(next(listed, ()))
