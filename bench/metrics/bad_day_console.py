"""What somebody who opens the console in a browser reads on a bad day."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from playwright.async_api import expect

from bench.metrics.simulated_workers import MODEL
from servemesh.client.alerts import Alert
from tests.harness.browser import browsing, shown

PAGES = ("", "alerts", "capacity", "models/digits", "workers")


async def look(console: str, fired: Iterable[Alert], folder: Path) -> None:
    """Walk through it, and keep a picture of every page. AssertionError if it tells another story."""
    async with browsing() as page:
        await shown(page, console, "alerts")
        table = page.get_by_role("region", name="Alerts")
        for alert in fired:
            row = table.get_by_role("row").filter(has_text=alert.rule).filter(has_text="FIRING")
            await expect(row, f"the alert {alert.rule}").to_have_count(1)
            await expect(row).to_contain_text(next(iter(alert.labels.values())))
        await shown(page, console, "capacity")
        await expect(page.get_by_role("row").filter(has_text=MODEL)).to_contain_text("exceeds capacity")
        await shown(page, console, "")
        await expect(page.get_by_role("region", name="Changes")).to_contain_text("deployments/digits")
        for path in PAGES:
            await shown(page, console, path)
            await page.screenshot(
                path=folder / f"console-{path.replace('/', '-') or 'overview'}.png", full_page=True
            )
