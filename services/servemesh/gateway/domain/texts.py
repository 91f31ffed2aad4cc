"""Errors about models in the words that tools for Triton look for."""

from __future__ import annotations

from servemesh.errors import MissingError, UnavailableError


def unknown_model(model: str, version: str = "") -> MissingError:
    """Return the error for a model, or a version of it, that is not served here."""
    if version:
        text = f"Request for unknown model: '{model}' version {version} is not found"
    else:
        text = f"Request for unknown model: '{model}' is not found"
    return MissingError(text, reason="MODEL_NOT_FOUND", model=model, version=version)


def not_ready(model: str, version: str, why: str) -> UnavailableError:
    """Return the error for a model that is known and cannot answer now."""
    named = f"'{model}' version {version}" if version else f"'{model}'"
    return UnavailableError(
        f"Request for unknown model: {named} is not at ready state: {why}",
        reason="MODEL_NOT_READY",
        model=model,
        version=version,
    )
