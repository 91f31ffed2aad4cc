"""The console in a real, headless Chromium."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from playwright.async_api import Page, async_playwright, expect

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PATIENCE_MS = 60_000
# As root in a container, and without asking its maker's hosts for anything.
_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@asynccontextmanager
async def browsing(**options: Any) -> AsyncIterator[Page]:
    """Open a page. Its scripts must not fail, nor ask anybody but the console."""
    failures: list[str] = []
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=list(_FLAGS))
        context = await browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
        context.set_default_timeout(PATIENCE_MS)
        page = await context.new_page()
        page.on("pageerror", lambda error: failures.append(str(error)))
        page.on("request", lambda request: None if _is_local(request.url) else failures.append(request.url))
        yield page
        await browser.close()
    assert not failures, failures


async def shown(page: Page, console: str, path: str) -> None:
    """Go to a page of the console, and wait until it is there."""
    await page.goto(f"{console}/#/{path}")
    await page.locator(".loading").wait_for(state="detached")
    await expect(page.locator("h1")).to_be_visible()


def _is_local(url: str) -> bool:
    return url.startswith(("http://127.0.0.1:", "data:"))
