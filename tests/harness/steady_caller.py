"""The process that sends a steady load; tests.harness.steady_load starts it, and reads a JSON line for all it does.

It takes orders on stdin: `send COUNT` starts calls beside the steady ones, `mark NUMBER` is said again once all that
happened before was said. It ends when stdin does, after its last call.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import onnxruntime

from servemesh.api.oip.v2 import inference_pb2 as pb
from servemesh.api.oip.v2 import inference_pb2_grpc as pb_grpc

ROWS = 8
REQUESTS = 16
DEADLINE_S = 20.0
CHANNEL_OPTIONS = (
    ("grpc.enable_retries", 0),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 5_000),
    ("grpc.max_reconnect_backoff_ms", 500),
)


class Caller:
    """Calls, and says so. `infer` is a stub's ModelInfer."""

    def __init__(self, infer: Any, model: str, path: Path) -> None:
        self._infer = infer
        self._requests = _requests(model, path)
        self._number = 0
        self._open = 0
        self._changed = threading.Condition()

    def send(self, count: int) -> None:
        """Start so many calls."""
        for _ in range(count):
            with self._changed:
                request, expected = self._requests[self._number % REQUESTS]
                self._number += 1
                self._open += 1
                self._say({"sent": 1})
            start_s = time.monotonic()
            call = self._infer.future(request, timeout=DEADLINE_S)
            call.add_done_callback(
                lambda call, expected=expected, start_s=start_s: self._ended(call, expected, start_s)
            )

    def mark(self, number: int) -> None:
        """Say the number, after all that happened before."""
        with self._changed:
            self._say({"mark": number})

    def until_all_ended(self) -> None:
        """Wait for the calls that are under way."""
        with self._changed:
            self._changed.wait_for(lambda: not self._open, DEADLINE_S + 1.0)

    def _ended(self, call: Any, expected: np.ndarray[Any, Any], start_s: float) -> None:
        end_s = time.monotonic()
        fault = _fault(call, expected)
        with self._changed:
            self._open -= 1
            self._say({"start_s": start_s, "end_s": end_s, "fault": fault})
            self._changed.notify_all()

    def _say(self, told: Mapping[str, object]) -> None:
        sys.stdout.write(json.dumps(told) + "\n")
        sys.stdout.flush()


def main() -> None:
    """Call ADDRESS MODEL PATH RATE until stdin ends."""
    address, model, path, rate_per_s = sys.argv[1:]
    over = threading.Event()
    with grpc.insecure_channel(address, options=CHANNEL_OPTIONS) as channel:
        caller = Caller(pb_grpc.GRPCInferenceServiceStub(channel).ModelInfer, model, Path(path))
        steady = threading.Thread(target=_steadily, args=(caller, 1.0 / float(rate_per_s), over))
        steady.start()
        for line in sys.stdin:
            verb, number = line.split()
            {"send": caller.send, "mark": caller.mark}[verb](int(number))
        over.set()
        steady.join()
        caller.until_all_ended()


def _steadily(caller: Caller, interval_s: float, over: threading.Event) -> None:
    due_s = time.monotonic()
    while not over.wait(max(0.0, due_s - time.monotonic())):
        caller.send(1)
        due_s += interval_s


def _requests(model: str, path: Path) -> list[tuple[pb.ModelInferRequest, np.ndarray[Any, Any]]]:
    """Return requests with the answer that onnxruntime itself gives to each."""
    session = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    (spec,) = session.get_inputs()
    random = np.random.default_rng(0)
    made = []
    for _ in range(REQUESTS):
        array = random.random((ROWS, spec.shape[1]), dtype=np.float32)
        tensor = pb.ModelInferRequest.InferInputTensor(name=spec.name, datatype="FP32", shape=array.shape)
        request = pb.ModelInferRequest(
            model_name=model, inputs=[tensor], raw_input_contents=[array.tobytes()]
        )
        made.append((request, session.run(None, {spec.name: array})[0]))
    return made


def _fault(call: Any, expected: np.ndarray[Any, Any]) -> str:
    if call.code() is not grpc.StatusCode.OK:
        return f"{call.code().name}: {call.details()}"
    answer = np.frombuffer(call.result().raw_output_contents[0], np.float32).reshape(-1, expected.shape[1])
    return "" if np.allclose(answer, expected, atol=1e-3) else "a wrong answer"


if __name__ == "__main__":
    main()
