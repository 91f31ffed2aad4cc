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
