"""The console over real HTTP: its files, its questions, its beats, and what it refuses."""

from __future__ import annotations

import asyncio
import http.client
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from servemesh.errors import ConflictError
from servemesh.lifecycle import SystemClock, background
from servemesh.metrics.console.api.app import ASSETS, application
from servemesh.metrics.console.domain import Method
from servemesh.metrics.console.service import Bounds, Document, Pulse, Questions
from servemesh.web.http_server import HttpLimits, serving_http
from tests.harness.told_mesh import ToldMesh

BOUNDS = Bounds(questions_max=4, question_s_max=5, watchers_max=1, pulse_s=0.05, pulse_window_s=60)
HOSTS = frozenset({"console.example.org"})


class SilentMesh(ToldMesh):
    """Says nothing until it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.was_asked, self.says = asyncio.Event(), asyncio.Event()

    async def ask(self, method: Method, request: Document, *, timeout_s: float) -> Document:
        self.was_asked.set()
        await self.says.wait()
        return await super().ask(method, request, timeout_s=timeout_s)


@asynccontextmanager
async def console(mesh: ToldMesh | None = None) -> AsyncIterator[str]:
    mesh = mesh or ToldMesh()
    pulse = Pulse(mesh, SystemClock(), BOUNDS)
    app = application(Questions(mesh, BOUNDS), pulse, question_bytes_max=1_000, hosts=HOSTS)
    async with background(pulse.run), serving_http("127.0.0.1:0", app, HttpLimits(grace_s=1)) as address:
        yield address


async def fetched(
    address: str, method: str, path: str, body: str = "", **headers: str
) -> tuple[int, http.client.HTTPMessage, str]:
    def fetch() -> tuple[int, http.client.HTTPMessage, str]:
        connection = http.client.HTTPConnection(address, timeout=5)
        try:
            connection.request(method, path, body, {key.replace("_", "-"): v for key, v in headers.items()})
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read().decode()
        finally:
            connection.close()

    return await asyncio.to_thread(fetch)


async def test_the_page_and_every_file_that_it_names_are_served_and_nothing_comes_from_elsewhere():
    async with console() as address:
        status, headers, page = await fetched(address, "GET", "/")
        files = re.findall(r'(?:src|href)="(/assets/[^"]+)"', page)
        served = [await fetched(address, "GET", path) for path in files]
    assert status == 200
    assert "default-src 'self'" in str(headers["content-security-policy"])
    assert len(files) >= 3
    assert all(status == 200 for status, _, _ in served)
    texts = [page, *(each.read_text() for each in ASSETS.rglob("*") if each.is_file())]  # type: ignore[attr-defined]
    elsewhere = {url for text in texts for url in re.findall(r"https?://[^\s\"'`]+", text)}
    assert elsewhere == {"http://www.w3.org/2000/svg"}


def test_every_module_that_a_module_names_is_there():
    root = ASSETS
    for module in root.rglob("*.js"):  # type: ignore[attr-defined]
        for name in re.findall(r'from "(\.[^"]+)"', module.read_text()):
            assert (module.parent / name).resolve().is_file(), f"{module.name} names {name}"


@pytest.mark.parametrize(
    "path", ["../settings.py", "%2e%2e/settings.py", "pages/../../settings.py", "/etc/passwd", "nothing.js"]
)
async def test_no_other_file_is_served(path: str):
    async with console() as address:
        status, _, body = await fetched(address, "GET", f"/assets/{path}")
    assert status == 404
    assert "ASSET_UNKNOWN" in body or "Not Found" in body


async def test_a_question_is_asked_and_its_typed_error_is_told():
    refusal = ConflictError("there is too little history", reason="HISTORY_SHORT")
    async with console(ToldMesh({"GetForecast": refusal})) as address:
        status, _, body = await fetched(
            address, "POST", "/api/metrics/GetOverview", '{"a": 1}', content_type="application/json"
        )
        refused, _, why = await fetched(
            address, "POST", "/api/metrics/GetForecast", "{}", content_type="application/json"
        )
    assert (status, json.loads(body)) == (200, {"echo": {"a": 1}})
    assert (refused, json.loads(why)["reason"]) == (409, "HISTORY_SHORT")


@pytest.mark.parametrize(
    ("path", "body", "kind", "status", "reason"),
    [
        ("metrics/GetOverview", "{}", "text/plain", 400, "QUESTION_MALFORMED"),
        ("metrics/GetOverview", "[1]", "application/json", 400, "QUESTION_MALFORMED"),
        ("metrics/GetOverview", "{", "application/json", 400, "QUESTION_MALFORMED"),
        ("metrics/GetOverview", "[" * 999, "application/json", 400, "QUESTION_MALFORMED"),
        ("metrics/GetOverview", '"' + "x" * 2_000 + '"', "application/json", 413, "MESSAGE_TOO_LARGE"),
        ("registry/DeleteModel", "{}", "application/json", 404, "QUESTION_UNKNOWN"),
        ("nothing/GetIt", "{}", "application/json", 404, "QUESTION_UNKNOWN"),
    ],
)
async def test_what_is_no_question_is_refused_with_its_reason(
    path: str, body: str, kind: str, status: int, reason: str
):
    async with console() as address:
        got, _, answer = await fetched(address, "POST", f"/api/{path}", body, content_type=kind)
    assert (got, json.loads(answer)["reason"]) == (status, reason)


async def test_what_nobody_expected_is_told_without_its_text():
    async with console(ToldMesh({"GetOverview": ValueError("/etc/servemesh/key.pem")})) as address:
        status, _, body = await fetched(
            address, "POST", "/api/metrics/GetOverview", "{}", content_type="application/json"
        )
    assert status == 500
    assert "key.pem" not in body


async def test_a_file_of_a_report_is_shown_where_its_scripts_could_not_run():
    async with console(ToldMesh({"DownloadReport": [b"<h1>", b"A day</h1>"]})) as address:
        status, headers, body = await fetched(address, "GET", "/reports/r1.html")
        other, _, _ = await fetched(address, "GET", "/reports/r1.exe")
    assert (status, body, other) == (200, "<h1>A day</h1>", 404)
    assert "sandbox" in str(headers["content-security-policy"])


@pytest.mark.parametrize("name", ["a%22b", "a%0D%0ASet-Cookie:b", "%C4%80", "..", "a%20b"])
async def test_no_name_of_a_report_reaches_a_header_or_the_mesh_that_could_not_be_one(name: str):
    mesh = ToldMesh({"DownloadReport": [b"1,2"]})
    async with console(mesh) as address:
        status, headers, body = await fetched(address, "GET", f"/reports/{name}.csv")
    assert (status, json.loads(body)["reason"]) == (404, "REPORT_MISSING")
    assert "set-cookie" not in headers
    assert mesh.asked.total() == 0


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"host": "localhost:8080"}, 200),
        ({"host": "127.0.0.1:8080"}, 200),
        ({"host": "[::1]:8080"}, 200),
        ({"host": "console:8080"}, 200),
        ({"host": "Console.Example.Org"}, 200),
        ({"host": "rebound.example.net:8080"}, 403),
        ({"host": "127.0.0.1.example.net"}, 403),
        ({"host": "[oops"}, 403),
        ({"sec-fetch-site": "same-origin"}, 200),
        ({"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"}, 403),
        ({"sec-fetch-site": "same-site", "sec-fetch-mode": "cors"}, 403),
        ({"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}, 200),
    ],
)
async def test_only_pages_under_a_name_of_the_console_may_ask(headers: dict[str, str], status: int):
    async with console() as address:
        got, _, body = await fetched(address, "GET", "/", **headers)
    assert got == status
    assert (json.loads(body)["reason"] == "ORIGIN_REFUSED") if got != 200 else "Servemesh" in body


async def test_a_page_that_closes_makes_room_although_no_beat_comes():
    mesh = SilentMesh()
    async with console(mesh) as address, asyncio.timeout(10):
        _, writer = await _listening(address)
        await mesh.was_asked.wait()
        writer.close()
        is_in = False
        while not is_in:  # until the server has seen it
            reader, writer = await _listening(address)
            event = asyncio.create_task(_event(reader))
            # A page too many is told so at once; one that was let in is told nothing.
            is_in = not (await asyncio.wait({event}, timeout=1))[0]
            if is_in:
                mesh.says.set()
                assert "event" not in await event
            writer.close()


async def test_beats_are_events_and_a_page_too_many_is_told_why():
    async with console() as address:
        reader, writer = await _listening(address)
        first = await _event(reader)
        other, other_writer = await _listening(address)
        refused = await _event(other)
        for each in (writer, other_writer):
            each.close()
    assert {"models", "workers", "fleet", "alerts", "edges", "errors"} <= json.loads(first["data"]).keys()
    assert refused["event"] == "refused"
    assert json.loads(refused["data"])["reason"] == "TOO_MANY_WATCHERS"


async def _listening(address: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"GET /beats HTTP/1.1\r\nHost: console\r\n\r\n")
    await writer.drain()
    return reader, writer


async def _event(reader: asyncio.StreamReader) -> dict[str, Any]:
    async with asyncio.timeout(5):
        fields: dict[str, Any] = {}
        while "data" not in fields:
            line = (await reader.readline()).decode().strip()
            name, colon, value = line.partition(": ")
            if colon and name in ("data", "event"):
                fields[name] = value
        return fields
