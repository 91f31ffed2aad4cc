"""The console of a real mesh in a real browser: every page, by keyboard, on a phone, in the dark, for everybody."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import expect

from examples.demo.mesh import DemoMesh
from servemesh.client import Client
from tests.harness.browser import CHROMIUM, PATIENCE_MS, browsing, shown

PAGES = (
    "",
    "models",
    "models/digits",
    "deployments",
    "workers",
    "jobs",
    "alerts",
    "capacity",
    "reports",
    "query",
)
SHOTS = Path(os.environ.get("SERVEMESH_TEST_SHOTS", ".cache/console"))

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here; `apt-get install chromium` brings one"),
    pytest.mark.timeout(300),
]


@pytest.fixture(scope="module")
def console(user_mesh: DemoMesh) -> str:
    """The console's URL, of a mesh that was called."""
    with Client(user_mesh.address) as client:
        for rows in (1, 4, 16):
            client.infer("digits", {"image": np.zeros((rows, 64), np.float32)})
    address: str = user_mesh.status()["console_address"]
    return f"http://{address}"


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 390)])
async def test_every_page_answers_fits_and_has_no_serious_fault_of_accessibility(
    console: str, scheme: str, width: int
):
    faults: dict[str, object] = {}
    viewport = {"width": width, "height": 900}
    async with browsing(viewport=viewport, color_scheme=scheme, bypass_csp=True) as page:
        for path in PAGES:
            await shown(page, console, path)
            await page.screenshot(
                path=SHOTS / f"{path.replace('/', '-') or 'overview'}-{scheme}.png", full_page=True
            )
            found = (await Axe().run(page)).response["violations"]
            serious = [
                (each["id"], each["nodes"][0]["html"])
                for each in found
                if each["impact"] in ("serious", "critical")
            ]
            overflows = await page.evaluate("() => document.documentElement.scrollWidth > window.innerWidth")
            refusals = await page.locator(".notice.bad[role=alert]").all_text_contents()
            if serious or overflows or refusals:
                faults[path or "overview"] = (serious, overflows, refusals)
    assert not faults, json.dumps(faults, indent=1)


async def test_the_overview_draws_the_mesh_that_is_there(console: str):
    async with browsing() as page:
        await shown(page, console, "")
        picture = page.locator("figure.mesh svg")
        described = re.compile("worker-1 .* 1 slots ready; worker-2 .* 1 slots ready")
        await expect(picture).to_have_attribute("aria-label", described, timeout=PATIENCE_MS)
        await expect(page.locator("#beat")).to_have_text("live")
        await expect(page.get_by_role("link", name="digits")).to_be_visible()


async def test_every_figure_leads_to_the_query_behind_it(console: str):
    async with browsing() as page:
        await shown(page, console, "")
        await page.get_by_role("link", name="the query behind it").first.click()
        await expect(page.locator("h1")).to_have_text("Query")
        await expect(page.locator("#method")).to_have_value("metrics/GetOverview")
        await expect(page.locator("pre")).to_contain_text('"call_count"')


async def test_it_is_walked_through_by_keyboard_alone(console: str):
    async with browsing() as page:
        await shown(page, console, "")
        await page.keyboard.press("Tab")
        await expect(page.locator(":focus")).to_have_text("Skip to content")
        for _ in range(3):
            await page.keyboard.press("Tab")
        await expect(page.locator(":focus")).to_have_text("Models")
        await page.keyboard.press("Enter")
        await expect(page.locator("h1")).to_have_text("Models")
        await expect(page.locator("nav [aria-current=page]")).to_have_text("Models")


async def test_a_question_that_the_mesh_refuses_is_said_with_a_way_on(console: str):
    request = json.dumps({"metric": "servemesh.worker.calls", "window": {}})
    async with browsing() as page:
        await shown(page, console, f"query/metrics/QueryRange?{quote(request)}")
        await expect(page.get_by_role("alert")).to_contain_text("window")
        await expect(page.get_by_role("button", name="Try again")).to_be_visible()


@pytest.mark.parametrize("path", ["metrics/CreateSilence", "metrics%2FCreateSilence%3F/GetIt"])
async def test_following_a_link_changes_nothing(console: str, path: str):
    async with browsing() as page:
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        await shown(page, console, f"query/{path}?{quote('{}')}")
        await expect(page.get_by_role("alert")).to_be_visible()
    assert not [url for url in asked if "/api/metrics/CreateSilence" in url]


async def test_a_report_is_written_and_opened(console: str):
    async with browsing() as page:
        await shown(page, console, "reports")
        await page.get_by_role("button", name="Write a report of this window").click()
        link = page.get_by_role("link", name="HTML").first
        await expect(link).to_be_visible(timeout=PATIENCE_MS)
        answer = await page.request.get(f"{console}{await link.get_attribute('href')}")
        assert answer.status == 200
        assert "digits" in await answer.text()
