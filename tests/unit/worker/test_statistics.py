"""What counts as failed, and what as refused."""

from __future__ import annotations

from servemesh.errors import InvalidError, OverloadedError
from servemesh.worker.service.statistics import Statistics


def test_a_callers_mistake_is_a_failure_to_triton_and_a_refusal_to_us():
    statistics = Statistics()
    statistics.failed(InvalidError("x is FP64", field="x", expected="FP32", got="FP64"), 5)
    statistics.failed(OverloadedError("the queue is full"), 7)
    assert (statistics.fail.count, statistics.fail.ns, statistics.refused) == (2, 12, 1)
