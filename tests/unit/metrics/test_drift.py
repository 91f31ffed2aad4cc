"""Drift: what has moved, and what has not."""

import numpy as np
import pytest

from servemesh.errors import ConflictError
from servemesh.exponential import ExponentialHistogram
from servemesh.metrics.domain.drift import drifted
from servemesh.metrics.domain.queries import Window
from servemesh.metrics.service.drift import Drifts
from servemesh.observe import names
from tests.harness.measured import BEGIN_S, measured, observed

DAY_S = 86_400.0


def histogram(values: np.ndarray) -> ExponentialHistogram:
    return ExponentialHistogram.of(values.tolist(), scale=4)


def test_where_nothing_moved_the_p_value_is_low_as_rarely_as_it_says():
    wrong, unstable = 0, 0
    for seed in range(200):
        chance = np.random.default_rng(seed)
        found = drifted("x", 0, histogram(chance.normal(0, 1, 1000)), histogram(chance.normal(0, 1, 1000)))
        wrong += found.p_value < 0.05
        unstable += found.psi > 0.1
    assert wrong <= 18
    assert unstable == 0


def test_a_shift_moves_psi_and_ks_as_theory_says():
    chance = np.random.default_rng(1)
    found = drifted("x", 3, histogram(chance.normal(1, 1, 50_000)), histogram(chance.normal(0, 1, 50_000)))
    assert found.ks == pytest.approx(0.383, abs=0.02)  # 2 Φ(1/2) - 1
    assert found.psi == pytest.approx(1.0, abs=0.15)  # of ten bins; 1 in the limit of many
    assert found.p_value < 1e-9


def test_a_feature_with_one_value_has_not_moved():
    same = histogram(np.zeros(500))
    assert drifted("x", 0, same, same).psi == 0
    assert drifted("x", 0, histogram(np.ones(500)), same).psi > 0.25


def sampled(time_s: float, values: np.ndarray, feature: int) -> list:
    labels = {"model": "digits", "version": "1", "tensor": "image", "feature": str(feature)}
    signs = {"positive": values[values >= 0], "negative": -values[values < 0]}
    return [
        observed(names.WORKER_FEATURE_VALUES, time_s, of.tolist(), instance="worker-1", kind=kind, **labels)
        for kind, of in signs.items()
    ]


async def test_drift_is_measured_against_the_first_day_of_samples():
    chance = np.random.default_rng(2)
    later = BEGIN_S + 3 * DAY_S
    points = [
        sampled(BEGIN_S + 60, chance.normal(0, 1, 2000), 0),
        sampled(BEGIN_S + 60, chance.normal(1, 1, 2000), 1),
        sampled(later + 60, chance.normal(0, 1, 1000), 0),
        sampled(later + 60, chance.normal(-1, 1, 1000), 1),
    ]
    async with measured(*points) as store:
        found = await Drifts(store).get("digits", 1, Window(begin_s=later, end_s=later + 3600), None)
    assert [each.feature for each in found.features] == [1, 0]
    assert found.features[0].psi > 0.25
    assert found.features[1].psi < 0.1
    assert (found.row_count, found.reference_row_count) == (1000, 2000)


async def test_what_is_not_sampled_says_how_to_have_it_sampled():
    window = Window(begin_s=BEGIN_S, end_s=BEGIN_S + 600)
    async with measured() as store:
        with pytest.raises(
            ConflictError, match="features of models/digits/versions/1 are not sampled: name digits"
        ):
            await Drifts(store).get("digits", 1, window, None)
    async with measured(sampled(BEGIN_S + 60, np.ones(5), 0)) as store:
        with pytest.raises(ConflictError, match="let the window begin later"):
            await Drifts(store).get("digits", 1, window, None)
        later = Window(begin_s=BEGIN_S + 120, end_s=BEGIN_S + 600)
        with pytest.raises(ConflictError, match="100 of each are needed"):
            await Drifts(store).get("digits", 1, later, None)
