"""Which paths and digests the files of an artifact may have."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from servemesh.errors import InvalidError

PATH_BYTES_MAX = 255
SHA256_DIGITS = frozenset("0123456789abcdef")
SHA256_LENGTH = 64


def check_path(path: str, field_path: str) -> None:
    """InvalidError PATH_REFUSED if `path` cannot name a file inside an artifact."""
    why = path_fault(path)
    if why is not None:
        raise InvalidError(
            f"{field_path} is {path[:PATH_BYTES_MAX]!r}: {why}; expected a relative path with forward slashes, "
            f"inside the artifact, of at most {PATH_BYTES_MAX} bytes",
            reason="PATH_REFUSED",
            field=field_path,
            got=path[:PATH_BYTES_MAX],
        )


def path_fault(path: str) -> str | None:
    """Return why `path` cannot name a file inside an artifact, or None if it can."""
    faults = {
        "it is empty": not path,
        "it is too long": len(path.encode("utf-8", "surrogatepass")) > PATH_BYTES_MAX,
        "it is absolute": path.startswith(("/", "\\", "~")),
        "it has a backslash": "\\" in path,
        "it has a drive letter or a colon": ":" in path,
        "it has characters that cannot be printed": any(unicodedata.category(c)[0] == "C" for c in path),
        "it leaves its folder": ".." in path.split("/"),
        "it has an empty or a '.' segment": bool({"", "."} & set(path.split("/"))),
    }
    return next((why for why, holds in faults.items() if holds), None)


def check_digest(sha256: str, field_path: str) -> None:
    """InvalidError DIGEST_MALFORMED unless `sha256` is a digest or empty."""
    if sha256 and (len(sha256) != SHA256_LENGTH or not SHA256_DIGITS.issuperset(sha256)):
        raise InvalidError(
            f"{field_path} is {sha256[:SHA256_LENGTH]!r}, expected {SHA256_LENGTH} lower-case hex digits or nothing",
            reason="DIGEST_MALFORMED",
            field=field_path,
            got=sha256[:SHA256_LENGTH],
        )


def check_distinct(paths: Sequence[str], field_path: str) -> None:
    """InvalidError PATH_DUPLICATE unless all the paths can lie side by side."""
    # Case is ignored because a model may be pulled onto a disk that ignores it.
    folded = [path.casefold() for path in paths]
    files = set(folded)
    folders = {path[:at] for path in folded for at, letter in enumerate(path) if letter == "/"}
    if len(files) < len(folded) or files & folders:
        raise InvalidError(
            f"{field_path} names a path twice, or a path that is also the folder of another",
            reason="PATH_DUPLICATE",
            field=field_path,
        )
