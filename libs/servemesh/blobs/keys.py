"""Where a blob lies in the bucket: under its digest, so that a key says what its bytes must be."""

from __future__ import annotations

import re

from servemesh.errors import InvalidError

PREFIX = "blobs/sha256/"
_SHA256 = re.compile("[0-9a-f]{64}")


def blob_key(sha256: str) -> str:
    """Return `blobs/sha256/<first two hex>/<sha256>`; InvalidError if it is not a lower-case hex digest."""
    if _SHA256.fullmatch(sha256) is None:
        raise InvalidError(
            f"sha256 is {sha256[:80]!r}, expected 64 lower-case hex digits",
            reason="DIGEST_MALFORMED",
            field="sha256",
            got=sha256[:80],
            expected="64 lower-case hex digits",
        )
    return f"{PREFIX}{sha256[:2]}/{sha256}"


def find_sha256(key: str) -> str | None:
    """Return the digest under which a blob lies, or None if the key is not one of ours."""
    sha256 = key.rpartition("/")[2]
    return sha256 if _SHA256.fullmatch(sha256) and key == blob_key(sha256) else None
