"""The locale that text models ask for by name, lent to them where the machine does not have it."""

from __future__ import annotations

import locale
import os
from pathlib import Path

WANTED = "en_US.UTF-8"  # what skl2onnx writes into every text model, and onnxruntime opens by name
FOLDER = "en_US.utf8"  # under which the C library looks for it
STAND_IN = Path("/usr/lib/locale/C.utf8")  # lower case and upper case are Unicode's in both


def lend(folder: Path) -> None:
    """Have C.UTF-8 stand in for `WANTED` in this process, through links in `folder`, if it is not installed.

    Minimal machines and images have C.UTF-8 alone. Call it before any thread is started: it asks the C library
    by setting the locale, and sets it back.
    """
    if _is_installed() or not STAND_IN.is_dir():
        return
    folder.mkdir(parents=True, exist_ok=True)
    link = folder / FOLDER
    if not link.is_symlink():
        link.symlink_to(STAND_IN)
    os.putenv("LOCPATH", str(folder.absolute()))  # read by the C library at each look-up, not by us


def _is_installed() -> bool:
    before = locale.setlocale(locale.LC_CTYPE)
    try:
        locale.setlocale(locale.LC_CTYPE, WANTED)
    except locale.Error:
        return False
    locale.setlocale(locale.LC_CTYPE, before)
    return True
