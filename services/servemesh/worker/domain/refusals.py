"""Refusals that OIP clients know by their text: unknown models and models that are not ready."""

from __future__ import annotations

from servemesh.errors import MissingError, UnavailableError


def unknown_model(model: str, version: str = "") -> MissingError:
    """Return the error for a model or version that this worker does not serve."""
    what = f"'{model[:200]}'" + (f" version {version[:200]}" if version else "")
    return MissingError(
        f"Request for unknown model: {what} is not found",
        reason="MODEL_UNKNOWN",
        model=model,
        version=version,
    )


def model_not_ready(model: str, version: str, state: str) -> UnavailableError:
    """Return the error for a model that is known here and cannot answer now."""
    return UnavailableError(
        f"Request for unavailable model: '{model}' version {version or 'default'} is not at ready state: {state}",
        reason="MODEL_NOT_READY",
        model=model,
        version=version,
        state=state,
    )
