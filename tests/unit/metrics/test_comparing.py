"""Two Versions compared: differences are found, and noise is not taken for one more often than it should be."""

from collections import Counter

import numpy as np
import pytest

from servemesh.errors import ConflictError, InvalidError, MissingError
from servemesh.exponential import ExponentialHistogram
from servemesh.metrics.domain.binning import Binned, binned
from servemesh.metrics.domain.comparing import Comparison, Side, compared
from servemesh.metrics.domain.queries import Window
from servemesh.metrics.service.comparing import VersionComparison
from tests.harness.measured import BEGIN_S, measured, worked

BLOCKS = 30


def sides(
    seed: int,
    *,
    calls: tuple[int, int] = (50, 50),
    clumped: bool = False,
    slower: float = 1.0,
    failing: float = 0.01,
) -> list[Side]:
    """Draw two Versions; `clumped` ones have good and bad minutes, in which all their calls share."""
    chance = np.random.default_rng(seed)
    drawn: list[tuple[list[ExponentialHistogram], list[int], list[int], list[float]]] = []
    for mean, factor in zip(calls, (1.0, slower), strict=True):
        histograms, counts, failures, sums = [], [], [], []
        for _ in range(BLOCKS):
            count = int(chance.poisson(mean))
            level, odds = (np.exp(chance.normal(0, 0.3)), np.exp(chance.normal(0, 1))) if clumped else (1, 1)
            durations = 0.01 * factor * level * np.exp(chance.normal(0, 0.5, count))
            histograms.append(ExponentialHistogram.of(durations.tolist(), scale=4))
            counts.append(count)
            failures.append(int(chance.binomial(count, min(1.0, failing * odds))))
            sums.append(float(durations.sum()))
        drawn.append((histograms, counts, failures, sums))
    bins = binned(drawn[0][0] + drawn[1][0])
    return [
        Side(
            calls=np.array(counts, np.float64),
            failed=np.array(failures, np.float64),
            durations=Binned(
                low=bins.low, high=bins.high, counts=bins.counts[at * BLOCKS : (at + 1) * BLOCKS]
            ),
            duration_s=np.array(sums),
            rows=np.array(counts, np.float64),
            runs=np.array(counts, np.float64) / 2,
        )
        for at, (_, counts, failures, sums) in enumerate(drawn)
    ]


@pytest.mark.parametrize(("clumped", "calls"), [(False, (50, 50)), (True, (50, 50)), (True, (100, 10))])
def test_where_there_is_no_difference_one_is_seen_about_as_rarely_as_the_p_value_says(
    clumped: bool, calls: tuple[int, int]
):
    wrong: Counter[str] = Counter()
    rounds = 40
    for seed in range(rounds):
        for found in compared(*sides(seed, clumped=clumped, calls=calls)):
            wrong[found.measure] += found.p_value < 0.05
    # 40 draws at 5 %: more than 7 come by chance in less than one of a thousand. The measures hang together.
    assert max(wrong.values()) <= 7, wrong


def test_intervals_hold_the_true_difference_about_as_often_as_they_say():
    held = sum(
        found.low <= 0.01 * np.exp(0.125) * 0.2 <= found.high
        for seed in range(40)
        for found in compared(*sides(seed, clumped=True, slower=1.2))
        if found.measure == "mean_s"
    )
    assert held >= 33


def test_a_slower_version_is_found_and_the_interval_says_by_how_much():
    found = {each.measure: each for each in compared(*sides(1, slower=1.3))}
    assert found["p50_s"].p_value < 0.001
    assert found["p50_s"].low < 0.003 < found["p50_s"].high
    assert found["mean_s"].difference > 0
    assert found["rows_per_run"].p_value == 1.0


def test_more_errors_are_found_with_many_calls_and_not_claimed_with_few():
    good, bad = sides(2, failing=0.01), sides(3, failing=0.05)
    errors = compared(good[0], bad[1])[0]
    assert errors.measure == "error_ratio"
    assert errors.p_value < 1e-4
    assert errors.low > 0.02
    few = few_errors(calls=(40, 40), failed=(0, 3))
    assert few.method == "Fisher's exact test"
    assert few.p_value == pytest.approx(0.2405, abs=0.001)  # R: fisher.test(matrix(c(0, 40, 3, 37), 2))
    assert few.low < 0 < few.high


def few_errors(calls: tuple[int, int], failed: tuple[int, int]) -> Comparison:
    nothing = Binned(low=np.zeros(0), high=np.zeros(0), counts=np.zeros((1, 0)))
    zeros = np.zeros(1)
    made = [
        Side(
            calls=np.array([float(each)]),
            failed=np.array([float(bad)]),
            durations=nothing,
            duration_s=zeros,
            rows=zeros,
            runs=zeros,
        )
        for each, bad in zip(calls, failed, strict=True)
    ]
    return compared(*made)[0]


async def test_versions_are_compared_block_by_block_from_the_store():
    chance = np.random.default_rng(5)
    points = [
        worked(
            BEGIN_S + second,
            answered=(factor * 0.02 * np.exp(chance.normal(0, 0.2, 20))).tolist(),
            failed=int(chance.binomial(20, failing)),
            runs=[10, 10],
            run_s=[0.1, 0.1],
            version=version,
        )
        for second in range(0, 300, 5)
        for version, factor, failing in (("1", 1.0, 0.0), ("2", 2.0, 0.1))
    ]
    window = Window(begin_s=BEGIN_S, end_s=BEGIN_S + 300)
    async with measured(*points) as store:
        found = await VersionComparison(store).compare(
            "models/digits/versions/1", "models/digits/versions/2", window
        )
    by_measure = {each.measure: each for each in found.comparisons}
    assert found.baseline_calls == 1200
    assert by_measure["p50_s"].candidate == pytest.approx(0.04, rel=0.05)
    assert by_measure["p99_s"].p_value < 0.001
    assert by_measure["error_ratio"].p_value < 0.001
    assert by_measure["rows_per_run"].difference == 0


async def test_what_cannot_be_compared_says_why():
    window = Window(begin_s=BEGIN_S, end_s=BEGIN_S + 300)
    short = Window(begin_s=BEGIN_S, end_s=BEGIN_S + 10)
    async with measured(worked(BEGIN_S + 1, answered=[0.01])) as store:
        comparison = VersionComparison(store)
        with pytest.raises(
            MissingError, match=r"no call of models/digits/versions/2 was ever measured: `servemesh"
        ):
            await comparison.compare("models/digits/versions/1", "models/digits/versions/2", window)
        with pytest.raises(InvalidError, match="expected another Version of models/digits"):
            await comparison.compare("models/digits/versions/1", "models/minilm/versions/2", window)
        with pytest.raises(ConflictError, match="ask for a longer window"):
            await comparison.compare("models/digits/versions/1", "models/digits/versions/2", short)
