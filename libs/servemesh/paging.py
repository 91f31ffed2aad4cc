"""Pages of a list: how many, from where on, and the opaque token that says so."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from servemesh.errors import InvalidError

DEFAULT_SIZE = 50
SIZE_MAX = 1_000
TOKEN_MAX = 1_024

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True, kw_only=True)
class Page(Generic[Item]):
    """Some items of a list; `next_page_token` is empty on the last page."""

    items: tuple[Item, ...]
    next_page_token: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PageRequest:
    """How many items to return, after which key, in the list that `scope` names."""

    scope: str
    size: int
    after: str

    @property
    def fetch(self) -> int:
        """How many to read: one more than the page, to know whether there is another."""
        return self.size + 1

    @property
    def after_number(self) -> int:
        """The key as a number, 0 at the start of the list; InvalidError for a forged token."""
        if not self.after:
            return 0
        if not (self.after.isascii() and self.after.isdigit() and len(self.after) < 19):
            raise _malformed(self.after)
        return int(self.after)

    def page(self, items: Sequence[Item], key: Callable[[Item], str]) -> Page[Item]:
        """Cut what was read down to the page."""
        kept = tuple(items[: self.size])
        more = len(items) > self.size
        return Page(items=kept, next_page_token=self.token(key(kept[-1])) if more else "")

    def token(self, key: str) -> str:
        """The token of the page that goes on after `key`."""
        return _encoded(self.scope, key)


def page_request(scope: str, page_size: int, page_token: str) -> PageRequest:
    """Read what a caller sent. `scope` is the method with its other arguments; a token fits only its own."""
    if page_size < 0:
        raise InvalidError(
            f"page_size is {page_size}, expected 0 or more",
            reason="OUT_OF_RANGE",
            field="page_size",
            expected="0 or more",
            got=page_size,
        )
    size = min(page_size or DEFAULT_SIZE, SIZE_MAX)
    after = _decoded(scope, page_token) if page_token else ""
    return PageRequest(scope=scope, size=size, after=after)


def _encoded(scope: str, key: str) -> str:
    body = json.dumps([key, _digest(scope)], separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(body).decode().rstrip("=")


def _decoded(scope: str, token: str) -> str:
    try:
        if len(token) > TOKEN_MAX:
            raise ValueError
        body = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
        key, digest = body
        if not isinstance(key, str) or digest != _digest(scope):
            raise ValueError
    except (ValueError, TypeError, binascii.Error):
        raise _malformed(token) from None
    return key


def _digest(scope: str) -> str:
    return hashlib.sha256(scope.encode()).hexdigest()[:16]


def _malformed(token: str) -> InvalidError:
    return InvalidError(
        "page_token is not one that a call with the same arguments returned; start again without it",
        reason="PAGE_TOKEN_MALFORMED",
        field="page_token",
        expected="next_page_token of the page before, with the same arguments",
        got=token[:100],
    )
