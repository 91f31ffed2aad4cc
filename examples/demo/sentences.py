"""Sentences to search, and how all-MiniLM-L6-v2 turns text into vectors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from servemesh.client import Client

TOKENS_MAX = 128

CORPUS = (
    "The cat sleeps on the warm windowsill.",
    "Interest rates were raised by a quarter of a percent.",
    "The train to Hamburg leaves ten minutes late.",
    "Whisk the eggs before you add the flour.",
    "The telescope saw a galaxy from the early universe.",
    "Our team lost the final on penalties.",
)
QUERIES = (
    ("A pet dozing in the sun", CORPUS[0]),
    ("The central bank tightened its policy", CORPUS[1]),
    ("How do I bake a cake?", CORPUS[3]),
    ("News from astronomy", CORPUS[4]),
)


class Embedder:
    """Text in, unit vectors of 384 numbers out: mean of the token vectors that the model gives."""

    def __init__(self, tokenizer: Path) -> None:
        self._tokenizer = Tokenizer.from_file(str(tokenizer))
        self._tokenizer.enable_truncation(TOKENS_MAX)
        self._tokenizer.enable_padding()

    def inputs(self, texts: Sequence[str]) -> dict[str, np.ndarray]:
        """Return the model's inputs, each INT64 [texts, tokens]."""
        encoded = self._tokenizer.encode_batch(list(texts))
        return {
            "input_ids": np.array([item.ids for item in encoded], dtype=np.int64),
            "attention_mask": np.array([item.attention_mask for item in encoded], dtype=np.int64),
            "token_type_ids": np.array([item.type_ids for item in encoded], dtype=np.int64),
        }

    def embedded(self, client: Client, texts: Sequence[str]) -> np.ndarray:
        """Return FP32 [texts, 384], rows of length 1."""
        inputs = self.inputs(texts)
        tokens = client.infer("minilm", inputs)["last_hidden_state"]
        mask = inputs["attention_mask"][..., None]
        means = (tokens * mask).sum(axis=1) / mask.sum(axis=1)
        vectors: np.ndarray = means / np.linalg.norm(means, axis=1, keepdims=True)
        return vectors
