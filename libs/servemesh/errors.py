"""The five kinds of error that a caller can meet, each with a reason to branch on and the ids it is about."""

from __future__ import annotations


class ServemeshError(Exception):
    """What went wrong, where, what was expected and what to do, in words that a caller may read.

    `reason` is UPPER_SNAKE, at most 63 characters, and part of the API: callers branch on it, never on the
    text. Everything variable in `message` is also in `metadata`.
    """

    reason = "INTERNAL"
    retry_after_s: float | None = None  # None: sending the same call here again will not help

    def __init__(self, message: str, *, reason: str | None = None, **metadata: object) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason or type(self).reason
        self.metadata = {key: str(value) for key, value in metadata.items()}


class InvalidError(ServemeshError):
    """The request is wrong and will stay wrong: INVALID_ARGUMENT. `field` is the path of what is wrong."""

    reason = "INVALID_ARGUMENT"


class MissingError(ServemeshError):
    """What the request names does not exist: NOT_FOUND."""

    reason = "NOT_FOUND"


class ConflictError(ServemeshError):
    """The state of the resource forbids it: FAILED_PRECONDITION."""

    reason = "FAILED_PRECONDITION"


class ExistsError(ConflictError):
    """There is one of that name already: ALREADY_EXISTS."""

    reason = "ALREADY_EXISTS"


class StaleError(ConflictError):
    """The resource changed since the caller saw it: ABORTED. Read it again and decide again."""

    reason = "STALE_ETAG"


class OverloadedError(ServemeshError):
    """A limit of ours is reached: RESOURCE_EXHAUSTED, with the wait after which to try again."""

    reason = "RESOURCE_EXHAUSTED"

    def __init__(
        self,
        message: str,
        *,
        reason: str | None = None,
        retry_after_s: float | None = 0.1,
        **metadata: object,
    ) -> None:
        super().__init__(message, reason=reason, **metadata)
        self.retry_after_s = retry_after_s


class UnavailableError(ServemeshError):
    """A part of the mesh is away: UNAVAILABLE. The call may be sent again, elsewhere if possible."""

    reason = "UNAVAILABLE"

    def __init__(
        self,
        message: str,
        *,
        reason: str | None = None,
        retry_after_s: float | None = None,
        **metadata: object,
    ) -> None:
        super().__init__(message, reason=reason, **metadata)
        self.retry_after_s = retry_after_s


class UnsupportedError(ServemeshError):
    """The method exists in the protocol and is not offered here: UNIMPLEMENTED."""

    reason = "UNIMPLEMENTED"


class DamagedError(ServemeshError):
    """Stored bytes are not what they were: DATA_LOSS."""

    reason = "DATA_LOSS"


class ExpiredError(ServemeshError):
    """The deadline of the call passed before the work was done: DEADLINE_EXCEEDED."""

    reason = "DEADLINE_EXCEEDED"
