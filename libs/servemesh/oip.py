"""Refusals of the Open Inference Protocol, in the words that tools for Triton look for; alike at gateway and worker."""

from __future__ import annotations

from collections.abc import Iterable

from servemesh.errors import InvalidError, MissingError, UnavailableError, UnsupportedError

_CHARS_MAX = 200  # of a name that the caller gave


def unknown_model(model: str, version: str = "") -> MissingError:
    """Return the error for a model, or a version of it, that is not served here."""
    return MissingError(
        f"Request for unknown model: {_named(model, version)} is not found",
        reason="MODEL_NOT_FOUND",
        model=model,
        version=version,
    )


def not_ready(model: str, version: str, why: str) -> UnavailableError:
    """Return the error for a model that is known and cannot answer now."""
    return UnavailableError(
        f"Request for unknown model: {_named(model, version)} is not at ready state: {why}",
        reason="MODEL_NOT_READY",
        model=model,
        version=version,
    )


def check_repository(name: str) -> None:
    """UnsupportedError if a call names a repository."""
    if name:
        raise UnsupportedError(
            "'repository_name' specification is not supported: there is one repository, without a name",
            reason="REPOSITORY_NAME_UNSUPPORTED",
            field="repository_name",
        )


def check_no_overrides(parameters: Iterable[str]) -> None:
    """InvalidError if a load comes with parameters."""
    keys = ", ".join(sorted(parameters))
    if keys:
        raise InvalidError(
            f"load parameters are not taken ({keys[:_CHARS_MAX]}): push files with `servemesh model push` and "
            "settings with `servemesh deploy`",
            reason="LOAD_PARAMETERS_UNSUPPORTED",
            field="parameters",
        )


def _named(model: str, version: str) -> str:
    return f"'{model[:_CHARS_MAX]}'" + (f" version {version[:_CHARS_MAX]}" if version else "")
