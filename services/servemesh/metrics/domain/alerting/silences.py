"""Silences: which alerts are kept from being delivered, and until when."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from servemesh.errors import InvalidError
from servemesh.metrics.domain.alerting.alerts import Alert

COMMENT_CHARS_MAX = 1_000
FILTERS_MAX = 16
VALUES_MAX = 100
SPAN_S_MAX = 366 * 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Silence:
    """Keeps alerts whose labels have, for each label of `filters`, one of its values. Times since 1970."""

    silence_id: str
    filters: Mapping[str, tuple[str, ...]]
    end_s: float
    comment: str
    create_s: float

    @property
    def name(self) -> str:
        """`silences/{silence}`."""
        return f"silences/{self.silence_id}"

    def covers(self, alert: Alert) -> bool:
        """Whether the alert is one of them; `rule` is its rule, `severity` its severity."""
        labels = {**alert.labels, "rule": alert.rule_id, "severity": alert.severity.value}
        return all(labels.get(label) in values for label, values in self.filters.items())


def is_silenced(alert: Alert, silences: Iterable[Silence], now_s: float) -> bool:
    """Whether a silence that has not ended covers the alert."""
    return any(silence.end_s > now_s and silence.covers(alert) for silence in silences)


def check_silence(silence: Silence) -> None:
    """InvalidError unless the silence says what it covers, why, and ends within a year."""
    if not 0 < len(silence.filters) <= FILTERS_MAX:
        raise _wrong("silence.filters", f"1 to {FILTERS_MAX} filters", len(silence.filters))
    for label, values in silence.filters.items():
        if not label or not 0 < len(values) <= VALUES_MAX:
            raise _wrong("silence.filters", f"a label with 1 to {VALUES_MAX} values", label)
    if len(silence.comment) > COMMENT_CHARS_MAX:
        raise _wrong("silence.comment", f"at most {COMMENT_CHARS_MAX} characters", len(silence.comment))
    if not silence.create_s < silence.end_s <= silence.create_s + SPAN_S_MAX:
        raise _wrong("silence.end_time", "a time in the future, within a year", silence.end_s)


def _wrong(field: str, expected: str, got: object) -> InvalidError:
    return InvalidError(
        f"{field} is {str(got)[:200]!r}, expected {expected}",
        reason="SILENCE_MALFORMED",
        field=field,
        expected=expected,
        got=str(got)[:200],
    )
