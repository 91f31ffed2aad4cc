"""Bounds on what callers may store, and the errors for reaching them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from servemesh.errors import InvalidError, OverloadedError

_LABEL_KEY = re.compile("[a-z][a-z0-9_.-]{0,62}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Most of each thing that one registry keeps or takes."""

    models_max: int = 10_000
    versions_max: int = 10_000
    aliases_max: int = 1_000
    workers_max: int = 1_000
    slots_max: int = 1_000
    demands_max: int = 1_000
    description_chars_max: int = 4_096
    labels_max: int = 64
    label_chars_max: int = 256
    traffic_max: int = 16
    replicas_max: int = 1_000
    watchers_max: int = 256

    def check_description(self, description: str) -> None:
        """InvalidError if it is too long."""
        if len(description) > self.description_chars_max:
            raise InvalidError(
                f"model.description has {len(description)} characters, expected at most "
                f"{self.description_chars_max}",
                reason="TOO_LONG",
                field="model.description",
                expected=f"at most {self.description_chars_max} characters",
                got=len(description),
            )

    def check_labels(self, labels: Mapping[str, str], field: str) -> None:
        """InvalidError if there are too many, or a key or value is not as the API says."""
        if len(labels) > self.labels_max:
            raise _bad_labels(field, f"at most {self.labels_max} labels", f"{len(labels)} labels")
        for key, value in labels.items():
            if not _LABEL_KEY.fullmatch(key):
                raise _bad_labels(field, f"keys that match {_LABEL_KEY.pattern}", repr(key[:100]))
            if len(value) > self.label_chars_max:
                expected = f"values of at most {self.label_chars_max} characters"
                raise _bad_labels(field, expected, f"{len(value)} characters under {key}")


def check_room(count: int, most: int, things: str, reason: str = "TOO_MANY") -> None:
    """OverloadedError if there are already `most` of `things`."""
    if count >= most:
        raise OverloadedError(
            f"there are {count} {things}, the most this registry keeps; delete some or raise its limit",
            reason=reason,
            retry_after_s=60.0,
            limit=most,
            things=things,
        )


def _bad_labels(field: str, expected: str, got: str) -> InvalidError:
    return InvalidError(
        f"{field} has {got}, expected {expected}",
        reason="LABELS_MALFORMED",
        field=field,
        expected=expected,
        got=got,
    )
