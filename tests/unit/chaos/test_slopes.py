"""What grows is seen through the restarts, and what comes and goes is not taken for growth."""

from __future__ import annotations

from collections.abc import Callable

from chaos.slopes import WARM_S, Slope, slopes
from chaos.vitals import Vitals

LIFE_S = 600


def lives(rss_mib: Callable[[float], float], count: int = 6) -> list[Vitals]:
    return [
        Vitals(
            process="p",
            pid=life,
            seen_s=life * LIFE_S + age,
            age_s=age,
            rss_mib=rss_mib(age),
            files=9,
            threads=4,
        )
        for life in range(count)
        for age in range(0, LIFE_S, 10)
    ]


def of(found: list[Slope], quantity: str) -> Slope:
    return next(slope for slope in found if slope.quantity == quantity)


def test_growth_within_each_life_is_found_although_each_restart_ends_it() -> None:
    slope = of(slopes(lives(lambda age: 100 + age / 60)), "rss_mib")
    assert 59 < slope.per_hour < 61
    assert slope.verdict == "NOT FLAT"


def test_growing_up_is_no_growth() -> None:
    found = slopes(lives(lambda age: min(age, WARM_S)))
    assert of(found, "rss_mib").verdict == "flat"
    assert of(found, "files").verdict == "flat"


def test_what_is_not_told_has_no_slope() -> None:
    assert "tasks" not in {slope.quantity for slope in slopes(lives(lambda age: 100))}
