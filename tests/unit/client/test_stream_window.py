"""What is under way on a stream of inference."""

from __future__ import annotations

import numpy as np

from servemesh.client.streaming import InferRequest, Window
from servemesh.errors import OverloadedError
from servemesh.rpc.limits import MESSAGE_BYTES_MAX


def test_a_request_that_no_message_holds_is_refused_by_itself():
    window = Window(ahead_max=2)
    assert window.opened(InferRequest(model="m", inputs={"x": np.zeros(MESSAGE_BYTES_MAX, np.uint8)})) is None
    assert window.opened(InferRequest(model="m", inputs={"x": np.zeros(1)})) is not None
    (error,) = window.finished()
    assert isinstance(error, OverloadedError)
    assert (error.reason, error.metadata["limit_bytes"]) == ("MESSAGE_TOO_LARGE", str(MESSAGE_BYTES_MAX))
