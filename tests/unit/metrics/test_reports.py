"""Reports: written once, kept, downloaded whole; pages that need nothing else; and the likely cause of an error."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from servemesh.errors import DamagedError, InvalidError, MissingError, UnavailableError
from servemesh.metrics.adapters.duck_store import DuckStore
from servemesh.metrics.adapters.report_renderer import ChromiumRenderer, found
from servemesh.metrics.adapters.sql_store import SqlStore
from servemesh.metrics.domain.points import Point, Series
from servemesh.metrics.domain.queries import Annotation, Kind, Window
from servemesh.metrics.domain.reporting import causes, pages, tables
from servemesh.metrics.domain.reporting.contents import step_s
from servemesh.metrics.domain.reporting.reports import (
    BLOBS,
    Order,
    ReportFormat,
    ReportKind,
    blob_key,
)
from servemesh.sql.engines import StoreSettings
from tests.harness.reported import BEGIN_S, DAY, a_day, figures_of
from tests.harness.reports_desk import Desk


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[Desk]:
    url = f"sqlite:///{folder / 'state.db'}"
    async with SqlStore.opened(StoreSettings(url=url)) as store, DuckStore.opened(":memory:") as readings:
        yield Desk(store, readings)


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with opened(tmp_path) as made:
        yield made


async def test_a_day_is_reported_on_once_also_after_a_restart(desk: Desk):
    await desk.measure()
    written = await desk.reports.write_due()
    assert [report.report_id for report in written] == ["daily-20261120"]
    assert await desk.reports.write_due() == []
    assert await desk.listed() == ["daily-20261120"]


async def test_days_of_which_nothing_was_measured_are_not_reported_on(desk: Desk):
    assert await desk.reports.write_due() == []


async def test_a_day_whose_report_could_not_be_stored_is_reported_on_later(desk: Desk):
    await desk.measure()
    desk.blobs.away = True
    with pytest.raises(UnavailableError):
        await desk.reports.write_due()
    desk.blobs.away = False
    assert [report.report_id for report in await desk.reports.write_due()] == ["daily-20261120"]


async def test_the_same_window_and_subject_give_one_report(desk: Desk):
    order = Order(kind=ReportKind.DEMANDED, window=DAY, model="digits")
    first = await desk.reports.create(order)
    desk.clock.advance(60)
    assert await desk.reports.create(order) == first
    other = await desk.reports.create(replace(order, model=""))
    assert await desk.listed() == [other.report_id, first.report_id]


async def test_a_report_comes_back_as_it_was_written(desk: Desk):
    report = await desk.reports.create(Order(kind=ReportKind.DEMANDED, window=DAY))
    assert [file.format for file in report.files] == [ReportFormat.HTML, ReportFormat.CSV]
    page = await desk.downloaded(report, ReportFormat.HTML)
    assert page.startswith(b"<!doctype html>")
    assert len(page) == report.files[0].size_bytes


async def test_what_is_not_there_or_not_what_it_was_is_not_handed_out(desk: Desk):
    report = await desk.reports.create(Order(kind=ReportKind.DEMANDED, window=DAY))
    with pytest.raises(MissingError, match="has no pdf, it has html, csv"):
        await desk.downloaded(report, ReportFormat.PDF)
    desk.blobs.corrupt(blob_key(report.report_id, report.files[1]), b"something else")
    with pytest.raises(DamagedError):
        await desk.downloaded(report, ReportFormat.CSV)


async def test_files_of_a_writer_that_died_are_swept_away_and_others_stay(desk: Desk, tmp_path: Path):
    report = await desk.reports.create(Order(kind=ReportKind.DEMANDED, window=DAY))
    orphan = tmp_path / "orphan"
    orphan.write_bytes(b"half a report")
    digest = "9e0f0d6ae3d3b1f7a5ec4d7a3ba2c0b2c2b3a7fd0b7e2b6a0c8e8b4f0e0c6d3a"
    desk.blobs.corrupt(f"{BLOBS}daily-20261119/{digest}.html", orphan.read_bytes())
    await desk.reports.sweep()
    assert len([blob async for blob in desk.blobs.list_blobs(BLOBS)]) == len(report.files)


@pytest.mark.parametrize("span_s", [-1.0, 0.0, 401 * 86_400.0])
async def test_a_window_that_cannot_be_is_refused(desk: Desk, span_s: float):
    window = Window(begin_s=BEGIN_S, end_s=BEGIN_S + span_s)
    with pytest.raises(InvalidError):
        await desk.reports.create(Order(kind=ReportKind.DEMANDED, window=window))


async def test_what_was_measured_is_drawn_and_an_error_has_the_change_that_it_came_from(desk: Desk):
    failed = Series.of("servemesh.worker.calls", Kind.COUNTER, model="digits", version="2", outcome="failed")
    answered = Series.of(
        "servemesh.worker.calls", Kind.COUNTER, model="digits", version="2", outcome="answered"
    )
    minutes = [BEGIN_S + 60 * place for place in range(1, 600)]
    await desk.readings.append([Point(answered, round(at_s * 1000), 100.0) for at_s in minutes])
    await desk.readings.append(
        [Point(failed, round(at_s * 1000), 10.0) for at_s in minutes if at_s > BEGIN_S + 18_000]
    )
    await desk.readings.annotate(
        Annotation(
            annotation_id="1",
            time_s=BEGIN_S + 17_900,
            kind="deployment.updated",
            resource="deployments/digits",
            text="deployments/digits changed.",
        )
    )
    report = await desk.reports.create(Order(kind=ReportKind.DEMANDED, window=DAY))
    page = (await desk.downloaded(report, ReportFormat.HTML)).decode()
    assert "Calls per second, by model" in page
    assert "version 2" in page
    assert re.search(r"began (with|\d+ min after) deployment.updated of deployments/digits", page)


def test_a_page_is_well_formed_and_asks_for_nothing_from_elsewhere():
    page = pages.html(a_day())
    for picture in re.findall(r"<svg.*?</svg>", page, re.DOTALL):
        ElementTree.fromstring(picture)
    assert not re.findall(r"<script|<link|@import|url\(|src=|href=", page)
    assert page.count("<figure>") >= 8
    assert "prefers-color-scheme:dark" in page
    assert "@media print" in page


def test_names_and_texts_from_elsewhere_cannot_break_out_of_the_page():
    day = a_day()
    evil = "<script>alert(1)</script>"
    page = pages.html(
        replace(
            day,
            changes=[replace(day.changes[0], text=evil, resource=evil)],
            models=[figures_of(f"models/{evil}")],
            without_outlook={evil: evil},
        )
    )
    assert "<script" not in page


def test_csv_has_a_row_for_every_subject_and_leaves_what_is_not_known_empty():
    day = a_day()
    rows = list(csv.DictReader(io.StringIO(tables.as_csv(day))))
    assert [row["subject"] for row in rows] == ["", *(each.subject for each in (*day.models, *day.workers))]
    assert rows[0]["gpu_s_per_1000"] == ""
    assert float(rows[0]["availability"]) == pytest.approx(1 - day.mesh.error_ratio)


def test_nothing_measured_gives_a_page_that_says_so():
    nothing = replace(
        a_day(),
        courses={},
        troubles=[],
        alerts=[],
        changes=[],
        outlooks=[],
        models=[],
        workers=[],
        mesh=figures_of("", 0),
    )
    page = pages.html(nothing)
    assert "Nothing was measured." in page
    assert "No alert fired." in page
    assert "nan" not in re.sub(r"<style>.*?</style>", "", page)


@pytest.mark.parametrize(
    ("span", "step"),
    [(3_600.0, 30.0), (86_400.0, 900.0), (7 * 86_400.0, 7_200.0), (400 * 86_400.0, 360_000.0)],
)
def test_steps_are_round_and_about_a_hundred(span: float, step: float):
    assert step_s(span) == step


def test_an_error_begins_at_the_longest_stretch_above_a_quarter_of_its_highest_rate():
    values = np.array([0.0, 9.0, 0.0, 0.0, 3.0, 8.0, 9.0, 9.0, 1.0])
    assert causes.onset_s(values, 1_000.0, 10.0) == 1_040.0
    assert causes.onset_s(np.array([math.nan, 0.0]), 1_000.0, 10.0) is None


def changed(kind: str, resource: str, before_s: float) -> Annotation:
    return Annotation(
        annotation_id=f"{kind}{before_s}", time_s=10_000 - before_s, kind=kind, resource=resource, text=""
    )


def test_the_cause_is_the_last_change_of_the_model_itself_before_one_of_a_worker():
    own = changed("deployment.updated", "deployments/digits", 900)
    worker = changed("worker.left", "workers/worker-1", 60)
    other = changed("deployment.updated", "deployments/other", 30)
    alert = changed("alert.firing", "models/digits", 10)
    assert causes.cause_of("digits", 10_000, [own, worker, other, alert]) == own
    assert causes.cause_of("letters", 10_000, [own, worker, other, alert]) == worker
    assert (
        causes.cause_of("digits", 10_000, [changed("alias.moved", "models/digits/aliases/prod", 3_600)])
        is None
    )


@pytest.mark.skipif(found() is None, reason="no Chromium on the PATH")
async def test_a_browser_makes_a_pdf_of_it(tmp_path: Path):
    page = tmp_path / "report.html"
    page.write_text(pages.html(a_day()))
    pdf = await ChromiumRenderer(timeout_s=50).pdf(page)
    assert pdf is not None
    assert pdf.read_bytes().startswith(b"%PDF")


async def test_without_a_browser_there_is_no_pdf(tmp_path: Path):
    assert await ChromiumRenderer(timeout_s=1, program="").pdf(tmp_path / "report.html") is None
    assert (
        await ChromiumRenderer(timeout_s=1, program="/nowhere/chromium").pdf(tmp_path / "report.html") is None
    )


def test_the_window_is_the_day():
    assert datetime.fromtimestamp(DAY.begin_s, UTC) == datetime(2026, 11, 20, tzinfo=UTC)
