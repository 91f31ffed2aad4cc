"""Daily and weekly reports are due once, when their time is over, also after the service was away."""

from __future__ import annotations

from datetime import datetime

from servemesh.metrics.domain.reporting.schedule import SETTLE_S, due


def at(text: str) -> float:
    return datetime.fromisoformat(f"{text}+00:00").timestamp()


def ids(now: str, *, written: tuple[str, ...] = ()) -> list[str]:
    return [order.report_id for order in due(at(now), written)]


def test_a_day_is_due_a_little_after_its_end():
    before, after = ids("2026-11-21T00:09:59"), ids("2026-11-21T00:10:00")
    assert SETTLE_S == 600
    assert "daily-20261120" not in before
    assert "daily-20261120" in after


def test_a_week_goes_from_monday_to_monday():
    order = next(each for each in due(at("2026-11-23T01:00:00"), ()) if each.kind == "weekly")
    assert order.report_id == "weekly-20261116"
    assert (order.window.begin_s, order.window.end_s) == (
        at("2026-11-16T00:00:00"),
        at("2026-11-23T00:00:00"),
    )
    assert "weekly-20261116" not in ids("2026-11-23T00:05:00")


def test_what_was_written_is_not_due_again():
    everything = ids("2026-11-21T12:00:00")
    assert ids("2026-11-21T12:00:00", written=tuple(everything)) == []
    assert ids("2026-11-21T12:00:00", written=tuple(everything[1:])) == everything[:1]


def test_a_week_away_is_made_up_for_and_no_more():
    assert len(ids("2026-11-21T12:00:00")) == 7 + 1
