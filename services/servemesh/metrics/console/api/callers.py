"""Who may ask: pages of the console itself, which knows no users: a page that reached it could do what it can."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from urllib.parse import urlsplit

from servemesh.errors import InvalidError

_OWN = ("", "same-origin", "none")  # of Sec-Fetch-Site; programs send no such header


def check_caller(headers: Mapping[str, str], hosts: frozenset[str]) -> None:
    """Refuse requests that a browser sends for a page of another site.

    A page of another site can have its own name point here, and would then pass for ours. So names with a dot, which
    are those that strangers can own, have to be among `hosts`.
    """
    name = _name(headers.get("host", ""))
    if "." in name and name not in hosts and not name.endswith(".localhost") and not _is_address(name):
        raise _refused(f"{name[:200]} is no name of this console in SERVEMESH_CONSOLE_HOSTS", "Host")
    own = headers.get("sec-fetch-site", "") in _OWN
    if not own and headers.get("sec-fetch-mode") != "navigate":  # links may lead here
        raise _refused("requests of pages of other sites are refused", "Sec-Fetch-Site")


def _name(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return "."  # nobody's


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _refused(message: str, field: str) -> InvalidError:
    return InvalidError(message, reason="ORIGIN_REFUSED", field=field)
