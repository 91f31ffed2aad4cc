"""The spans of a batch, recorded once it has run: what waited, what ran together, what the runtime took."""

from __future__ import annotations

import time
from collections.abc import Mapping

from servemesh.observe import names, traces
from servemesh.worker.service.calls import Batch
from servemesh.worker.service.execution import Outcome


def record(batch: Batch, outcome: Outcome, *, rows: int, labels: Mapping[str, str]) -> None:
    """Record the batch for those of its calls that are traced.

    A batch has one parent, the first of them, and links to all of them; the others link to the batch.
    """
    spans = [call.span for call in batch.calls if call.span is not None]
    if not spans:
        return
    contexts = [span.get_span_context() for span in spans]
    since_1970_ns = time.time_ns() - time.perf_counter_ns()
    start_ns = since_1970_ns + outcome.started_ns
    for call in batch.calls:
        if call.span is not None:
            arrived_ns = since_1970_ns + call.arrived_ns
            traces.past(names.SPAN_QUEUE, call.span.get_span_context(), arrived_ns, start_ns)
    infer_ns = start_ns + outcome.input_ns
    ran_ns = infer_ns + outcome.infer_ns
    error = _error(outcome)
    context = traces.past(
        names.SPAN_BATCH,
        contexts[0],
        start_ns,
        ran_ns + outcome.output_ns,
        links=contexts,
        error=error,
        calls=len(batch.calls),
        rows=rows,
        **labels,
    )
    traces.past(names.SPAN_RUN, context, infer_ns, ran_ns, error=error)
    for span in spans[1:]:
        if span.is_recording():  # a caller who left has ended its span
            span.add_link(context)


def _error(outcome: Outcome) -> str:
    """Name what kind of error every call met; empty if one was answered."""
    failures = [answer for answer in outcome.answers if isinstance(answer, Exception)]
    return type(failures[0]).__name__ if len(failures) == len(outcome.answers) and failures else ""
