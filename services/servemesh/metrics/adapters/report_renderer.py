"""PDF by a headless Chromium, where one is on the PATH; a report without is a report all the same."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
from pathlib import Path

from servemesh import child
from servemesh.observe import names as telemetry

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "chrome")
log = logging.getLogger(__name__)


class ChromiumRenderer:
    """Satisfies reports.Renderer. One process at a time, in a process group that ends with it; no time is no PDF."""

    def __init__(self, *, timeout_s: float, program: str | None = None) -> None:
        self._timeout_s = timeout_s
        self._program = program if program is not None else found()
        self._alone = asyncio.Lock()

    async def pdf(self, page: Path) -> Path | None:
        """Return the file beside `page`; None where no renderer is present, or it fails."""
        if not self._program or self._timeout_s <= 0:
            return None
        to = page.with_suffix(".pdf")
        command = [
            *(self._program, "--headless", "--disable-gpu", "--no-first-run", "--disable-extensions"),
            *(
                "--disable-background-networking",
                "--disable-dev-shm-usage",
                f"--user-data-dir={page.parent}/profile",
            ),
            *(["--no-sandbox"] if os.geteuid() == 0 else []),  # it refuses to be sandboxed by root
            *("--no-pdf-header-footer", f"--print-to-pdf={to}", page.as_uri()),
        ]
        async with self._alone:
            cause = await self._run(command)
        if cause or not to.is_file() or not to.stat().st_size:
            log.warning(telemetry.REPORT_NO_PDF, extra={"cause": cause or "it wrote nothing"})
            return None
        return to

    async def _run(self, command: list[str]) -> str:
        """Why it failed; nothing if it did not."""
        try:
            reply = await child.asked(command, timeout_s=self._timeout_s)
        except TimeoutError:  # is an OSError, too
            return "it takes too long"
        except OSError as error:
            return f"it does not start: {error.strerror}"
        return f"it ended with status {reply.status}" if reply.status else ""


def found() -> str | None:
    """Return the browser on the PATH, if there is one."""
    return next((path for program in PROGRAMS if (path := shutil.which(program))), None)
