"""ModelInfer at a fixed rate from a plain gRPC stub without retries, whatever the mesh does meanwhile."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import grpc
import numpy as np
import onnxruntime

from servemesh.api.oip.v2 import inference_pb2 as pb
from servemesh.api.oip.v2 import inference_pb2_grpc as pb_grpc

ROWS = 8
REQUESTS = 16
DEADLINE_S = 20.0
LATE_S = 0.1
"""A call that has not ended so long after its deadline is late."""
AFTERWARDS = 30
CHANNEL_OPTIONS = (
    ("grpc.enable_retries", 0),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 5_000),
    ("grpc.max_reconnect_backoff_ms", 500),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call that has ended, on the monotonic clock. `fault` is empty if the answer was right."""

    start_s: float
    end_s: float
    fault: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What a stretch of time looked like from outside."""

    calls: int
    faults: tuple[str, ...]
    p99_s: float
    slowest_s: float
    late: int

    @classmethod
    def of(cls, calls: list[Call]) -> Figures:
        """Sum up."""
        durations = sorted(call.end_s - call.start_s for call in calls) or [0.0]
        return cls(
            calls=len(calls),
            faults=tuple(call.fault for call in calls if call.fault),
            p99_s=durations[int(0.99 * (len(durations) - 1))],
            slowest_s=durations[-1],
            late=sum(1 for duration in durations if duration > DEADLINE_S + LATE_S),
        )

    def __str__(self) -> str:
        slow = f"p99 {self.p99_s * 1000:.0f} ms, slowest {self.slowest_s * 1000:.0f} ms"
        return f"{len(self.faults)} of {self.calls} calls failed, {slow}"


class SteadyLoad:
    """Open loop: a call starts when it is due, however many are still under way. Every answer is checked."""

    def __init__(self, address: str, model: str, path: Path, *, rate_per_s: float = 80.0) -> None:
        self._address = address
        self._interval_s = 1.0 / rate_per_s
        self._requests = _requests(model, path)
        self._channel: grpc.Channel | None = None
        self._infer: Any = None
        self._sent = 0
        self._calls: list[Call] = []
        self._lock = threading.Condition()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="steady-load")

    def __enter__(self) -> Self:
        self._channel = grpc.insecure_channel(self._address, options=CHANNEL_OPTIONS)
        self._infer = pb_grpc.GRPCInferenceServiceStub(self._channel).ModelInfer
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        with self._lock:
            self._lock.wait_for(lambda: len(self._calls) == self._sent, DEADLINE_S + 1.0)
        assert self._channel is not None
        self._channel.close()

    def send(self, count: int = 1) -> None:
        """Start so many calls at once, on top of the steady ones."""
        for _ in range(count):
            with self._lock:
                number, self._sent = self._sent, self._sent + 1
            request, expected = self._requests[number % REQUESTS]
            start_s = time.monotonic()
            call = self._infer.future(request, timeout=DEADLINE_S)
            call.add_done_callback(
                lambda call, expected=expected, start_s=start_s: self._ended(call, expected, start_s)
            )

    def until_answered(self, count: int) -> None:
        """Wait until so many more calls that start from now on were answered."""
        start_s = time.monotonic()
        with self._lock:
            enough = self._lock.wait_for(lambda: self._answered_since(start_s) >= count, DEADLINE_S)
        assert enough, f"no {count} calls were answered within {DEADLINE_S:.0f} s"

    def until_all_ended(self) -> None:
        """Wait until every call that has been sent by now has ended."""
        with self._lock:
            sent_s = time.monotonic()
            count = self._sent
            ended = self._lock.wait_for(lambda: self._started_before(sent_s) >= count, DEADLINE_S + 1.0)
        assert ended, f"calls have not ended {DEADLINE_S + 1.0:.0f} s after they were sent"

    def calls(self) -> list[Call]:
        """Return the calls that have ended."""
        with self._lock:
            return list(self._calls)

    def figures(self, since_s: float = 0.0, until_s: float = float("inf")) -> Figures:
        """Sum up the calls that ended within a stretch of the monotonic clock."""
        with self._lock:
            return Figures.of([call for call in self._calls if since_s <= call.end_s <= until_s])

    @contextlib.contextmanager
    def unharmed_by(self, fault: str) -> Iterator[None]:
        """AssertionError if a call fails that ends after the block has begun and starts before it ends."""
        since_s, before = time.monotonic(), self.figures()
        yield
        self.until_all_ended()
        during = self.figures(since_s)
        print(f"{fault}: {during}; before it p99 {before.p99_s * 1000:.0f} ms")
        assert not during.faults, f"{fault}: {during}; the first: {during.faults[:5]}"

    @contextlib.contextmanager
    def cut_off_by(self, fault: str) -> Iterator[None]:
        """AssertionError if a call fails in another way than that nobody was there, or one fails afterwards.

        The block ends when calls are to succeed again.
        """
        since_s = time.monotonic()
        yield
        self.until_answered(AFTERWARDS)
        back_s = time.monotonic()
        with self.unharmed_by(f"after {fault}"):
            self.until_answered(AFTERWARDS)
        during = self.figures(since_s, back_s)
        print(f"{fault}: {during}; answered again after {back_s - since_s:.1f} s")
        strange = [text for text in during.faults if not text.startswith("UNAVAILABLE")]
        assert not strange, f"{fault}: {strange[:5]}"

    def _answered_since(self, start_s: float) -> int:
        return sum(1 for call in reversed(self._calls) if call.start_s >= start_s and not call.fault)

    def _started_before(self, limit_s: float) -> int:
        return sum(1 for call in self._calls if call.start_s <= limit_s)

    def _run(self) -> None:
        due_s = time.monotonic()
        while not self._stop.wait(max(0.0, due_s - time.monotonic())):
            self.send()
            due_s += self._interval_s

    def _ended(self, call: Any, expected: np.ndarray[Any, Any], start_s: float) -> None:
        fault = _fault(call, expected)
        with self._lock:
            self._calls.append(Call(start_s=start_s, end_s=time.monotonic(), fault=fault))
            self._lock.notify_all()


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
