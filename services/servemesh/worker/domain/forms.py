"""The forms of requests: what two requests have in common that differ in the bytes of their tensors only.

Callers of a tiny model send the same request again and again, with other numbers in it. All before the first tensor's
bytes is equal then, so that one look-up tells what taking the message apart would tell, and that it is valid.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from servemesh.tensors.datatypes import Datatype
from servemesh.worker.domain.signature import Signature

Array = np.ndarray[Any, Any]
FORMS_MAX = 512
# A request that is like none before is looked at closely once in so many times: callers whose requests are never
# alike would pay for that each time.
LEARN_EVERY = 16
# Of requests with equal length, so many beginnings are tried.
PREFIXES_MAX = 4
# A form is remembered with all that stands before the tensors, which can be as long as a message.
PREFIX_BYTES_MAX = 16 * 1024
_RAW_FIELD = 0x3A  # raw_input_contents, the last field of a ModelInferRequest: number 7, wire type 2
_PLAIN = frozenset("iufc")  # kinds of numbers of which every pattern of bits is a value


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """Where the bytes of one tensor lie, and what comes right before them."""

    place: int  # of the input in the signature
    head: bytes
    start: int
    end: int
    dtype: np.dtype[Any]
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """A form that fits a signature: the message, but for the bytes of its tensors, is `prefix` and each `head`.

    `prefix` reaches to the first tensor's bytes, so that its `head` is empty.
    """

    prefix: bytes
    signature: Signature
    model: str
    version: str
    pieces: tuple[Piece, ...]
    places: int
    rows: int
    size_bytes: int
    outputs: tuple[str, ...]
    key: Hashable

    @property
    def message_bytes(self) -> int:
        """How long every message of this form is: nothing stands after the last tensor."""
        return self.pieces[-1].end

    def inputs(self, payload: bytes) -> list[Array | None] | None:
        """Return the tensors of a message of this length and prefix, in the signature's order; None if it differs."""
        inputs: list[Array | None] = [None] * self.places
        for piece in self.pieces:
            start = piece.start
            if piece.head and payload[start - len(piece.head) : start] != piece.head:
                return None
            array = np.frombuffer(payload[start : piece.end], piece.dtype)
            inputs[piece.place] = array.reshape(piece.shape)
        return inputs


class Forms:
    """The forms seen so far, at most `FORMS_MAX`; more of them start anew."""

    def __init__(self) -> None:
        self._forms: dict[bytes, Form] = {}
        self._prefix_sizes: dict[int, list[int]] = {}  # by the length of the message
        self._misses = 0

    def find(self, payload: bytes) -> Form | None:
        """Return the form of a message, if it has been seen."""
        for size in self._prefix_sizes.get(len(payload), ()):
            form = self._forms.get(payload[:size])
            # Another form may have a prefix of that size, and its messages another length.
            if form is not None and form.message_bytes == len(payload):
                return form
        return None

    def is_worth_learning(self) -> bool:
        """Count a message of unknown form; whether to look at it closely."""
        self._misses += 1
        return self._misses % LEARN_EVERY == 1

    def add(self, form: Form) -> None:
        """Know this form from now on, in the place of one with the same prefix."""
        if len(self._forms) >= FORMS_MAX:
            self._forms.clear()
            self._prefix_sizes.clear()
        self._forms[form.prefix] = form
        sizes = self._prefix_sizes.setdefault(form.message_bytes, [])
        if len(form.prefix) not in sizes:
            sizes.insert(0, len(form.prefix))
            del sizes[PREFIXES_MAX:]


def raw_heads(raws: Sequence[bytes]) -> list[bytes]:
    """Return what stands before the bytes of each tensor in a message: its field and its length."""
    return [bytes((_RAW_FIELD,)) + varint(len(raw)) for raw in raws]


def varint(value: int) -> bytes:
    """Return a number of 0 or more as protobuf writes lengths."""
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def is_plain(datatype: Datatype) -> bool:
    """Whether every pattern of bits is a value, so that there is nothing to check but the length."""
    return datatype.dtype.kind in _PLAIN
