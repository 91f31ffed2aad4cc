"""Pictures: round ticks, gaps where nothing was measured, and nothing that could break out of a page."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime
from xml.etree import ElementTree

import pytest

from servemesh.pictures.axes import number_ticks, time_ticks
from servemesh.pictures.lines import Chart, Line, Mark, drawn, legend
from servemesh.pictures.pages import page, table

MIDNIGHT_S = datetime(2026, 11, 20, tzinfo=UTC).timestamp()


def a_chart(*lines: Line, **changes: object) -> Chart:
    values = {"title": "Calls", "begin_s": MIDNIGHT_S, "step_s": 3_600.0, "written": str, **changes}
    return Chart(lines=lines, **values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0.0, 1.0, [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (0.0, 7.3, [0.0, 2.0, 4.0, 6.0]),
        (0.0, 0.00042, [0.0, 0.0001, 0.0002, 0.0003, 0.0004]),
        (0.0, 0.0, [0.0]),
        (0.0, math.inf, [0.0]),
    ],
)
def test_ticks_are_round_and_few(low: float, high: float, ticks: list[float]):
    assert number_ticks(low, high) == pytest.approx(ticks)


def test_times_are_full_hours_and_midnight_is_its_date():
    labels = [tick.label for tick in time_ticks(MIDNIGHT_S, MIDNIGHT_S + 86_400)]
    assert labels[:3] == ["20 Nov", "03:00", "06:00"]
    assert labels[-1] == "21 Nov"
    assert [tick.label for tick in time_ticks(MIDNIGHT_S, MIDNIGHT_S + 7 * 86_400)][1] == "21 Nov"
    assert len(time_ticks(MIDNIGHT_S + 5, MIDNIGHT_S + 400 * 86_400)) <= 9


def test_a_line_has_gaps_where_nothing_was_measured_and_a_lonely_value_is_a_dot():
    root = ElementTree.fromstring(drawn(a_chart(Line(name="a", values=[1.0, 2.0, math.nan, 3.0, math.nan]))))
    course = next(path.attrib["d"] for path in root.iter("path"))
    assert course.count("M") == 2
    assert course.endswith("h.1")
    assert "nan" not in course


def test_an_interval_is_drawn_around_its_line_and_marks_within_the_window_only():
    line = Line(name="a", values=[1.0, 2.0], low=[0.5, 1.5], high=[1.5, 2.5])
    marks = [
        Mark(time_s=MIDNIGHT_S + 60, label="!", title="in"),
        Mark(time_s=MIDNIGHT_S - 60, label="!", title="out"),
    ]
    picture = drawn(a_chart(line, marks=marks))
    assert picture.count("polygon") == 1
    assert "in</title>" in picture
    assert "out</title>" not in picture


def test_nothing_measured_is_empty_and_can_be_drawn_all_the_same():
    empty = a_chart(Line(name="", values=[math.nan]))
    assert empty.is_empty
    ElementTree.fromstring(drawn(empty))
    ElementTree.fromstring(drawn(a_chart()))
    assert legend(a_chart()) == ""


def test_names_are_escaped_everywhere():
    evil = '"><script>'
    parts = [
        drawn(a_chart(Line(name=evil, values=[1.0]), title=evil)),
        legend(a_chart(Line(name=evil, values=[]))),
    ]
    parts += [table([evil], [[evil]]), page(evil, [])]
    assert not any("<script>" in part for part in parts)


def test_a_page_has_a_style_for_light_dark_and_paper_and_asks_for_nothing():
    text = page("Title", ["<h1>Title</h1>"])
    assert text.count("@media") == 2
    assert not re.findall(r"url\(|@import|<link|<script", text)
