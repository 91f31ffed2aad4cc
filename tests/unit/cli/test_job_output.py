"""What a person sees of a job, and what its exit status is."""

import io
from dataclasses import replace

import pytest
from rich.console import Console

from servemesh.cli import job_output
from servemesh.cli.commands.jobs import brought
from servemesh.cli.options import duration_s
from servemesh.client import Evaluation
from servemesh.client.jobs import AnyJob, JobError
from servemesh.errors import InvalidError
from tests.harness.job_values import a_job, a_variant, an_optimization

DEFAULTS = {"int8_static": {"calibration": "minmax", "rows_max": 256}}


def printed(found: AnyJob, defaults: job_output.Defaults) -> str:
    text = io.StringIO()
    job_output.print_job(found, defaults, Console(file=text, width=160, highlight=False, emoji=False))
    return text.getvalue()


def test_the_table_says_what_was_gained_and_what_it_cost():
    text = printed(an_optimization(a_variant()), DEFAULTS)
    assert "optimizations/j1 SUCCEEDED in 42 s: digits@1, recipe int8, dataset rows" in text
    assert "int8_static(calibration=entropy)" in text
    assert "0.28" in text
    assert "1.50 [1.40, 1.60]" in text
    assert "0.003 [-0.003, 0.008]" in text
    assert "version 2" in text
    assert "A [fine] processor" in text


def test_each_refusal_is_told_below_the_table():
    refused = a_variant(version=None, accepted=False, pareto=False, refusals=("it is slow", "it is [big]"))
    text = printed(an_optimization(refused), DEFAULTS)
    assert "int8_static(calibration=entropy): it is slow" in text
    assert "it is [big]" in text


def test_a_failure_is_told_with_its_place_and_what_was_found_before_it():
    error = JobError(reason="PASS_NEEDS_ROWS", message="name a dataset", field="dataset")
    text = printed(an_optimization(a_variant(), job=a_job(state="FAILED", error=error)), {})
    assert "PASS_NEEDS_ROWS (dataset): name a dataset" in text
    assert "version 2" in text


def test_an_evaluation_names_the_versions_that_it_compares():
    result = an_optimization(a_variant(steps=(), version=None)).result
    evaluation = Evaluation(
        name="evaluations/j1",
        model="digits",
        version=3,
        baseline="other@1",
        dataset="rows",
        job=a_job(name="evaluations/j1"),
        result=result,
    )
    text = printed(evaluation, {})
    assert "other@1" in text
    assert "digits@3" in text
    assert "A loss of 0.003 may be chance (p = 0.5, paired permutation test)" in text


def test_a_job_brought_what_was_asked_if_a_variant_was_accepted():
    good = an_optimization(a_variant())
    assert brought(good)
    assert not brought(an_optimization(a_variant(accepted=False)))
    assert not brought(replace(good, job=a_job(state="FAILED")))
    assert not brought(replace(good, job=a_job(state="CANCELLED")))


def test_times_are_read_as_people_write_them():
    assert [duration_s(text, "--time") for text in (None, "90", "90s", "5m", "1.5h")] == [
        0,
        90,
        90,
        300,
        5400,
    ]
    for text in ("", "0", "5 minutes", "-1", "1d"):
        with pytest.raises(InvalidError):
            duration_s(text, "--time")
