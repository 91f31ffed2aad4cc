"""Optimizations from the fetched Version to the registered variants."""

from pathlib import Path

import pytest

from servemesh.errors import ConflictError, InvalidError, OverloadedError, UnavailableError
from servemesh.optimizer.domain.results import OptimizationResult, PassStep
from servemesh.optimizer.domain.specs import Gate, JobLimits, MeasurementPlan, OptimizationSpec
from servemesh.optimizer.service.optimizing import Optimizing
from tests.harness.optimizing import (
    KeptProgress,
    MemoryPasses,
    MemoryVersions,
    ScriptedChildren,
    a_running_job,
    some_tools,
)

LIMITS = JobLimits(time_s=600, memory_bytes=10**9, threads=1)
INT8 = {"int8_static": (1.8, 0.3, 0.002)}
NOT_APPLYING = InvalidError("it has no trees", reason="PASS_DOES_NOT_APPLY")


def a_spec(**changes) -> OptimizationSpec:
    given = {
        "source_version": "models/m/versions/1",
        "recipe": "int8",
        "dataset": "datasets/d",
        "gate": Gate(metric_loss_max=0.01),
        "measurement": MeasurementPlan(),
        "limits": LIMITS,
    }
    return OptimizationSpec(**{**given, **changes})


async def test_an_accepted_variant_is_registered_with_its_lineage_and_takes_the_alias(tmp_path: Path):
    versions, progress = MemoryVersions(), KeptProgress()
    tools = some_tools(ScriptedChildren(INT8), versions)
    result = await Optimizing(tools).run(a_running_job(tmp_path / "j"), a_spec(alias="fast"), progress)
    (variant,) = result.variants
    assert variant.accepted
    assert variant.pareto
    assert variant.size_ratio == pytest.approx(0.3, abs=0.01)
    assert result.baseline is not None
    passes, labels, parents = versions.registered[variant.version]
    assert passes == "simplify int8_static"
    assert parents == ["models/m/versions/1"]
    assert labels["servemesh.optimization"] == "optimizations/j1"
    assert labels["servemesh.recipe"] == "int8"
    assert "calibration" in labels["servemesh.step.1"]
    assert labels["servemesh.library.onnx"] == "1.0"
    assert versions.aliases == {"models/m/aliases/fast": variant.version}
    assert len(progress.decided) == 1
    assert progress.shares == sorted(progress.shares)


@pytest.mark.parametrize(
    ("effect", "gate", "words"),
    [
        ((1.8, 0.3, 0.05), Gate(metric_loss_max=0.01), "metric"),
        ((1.0, 0.3, 0.0), Gate(speedup_min=1.2), "fast"),
        ((1.8, 0.9, 0.0), Gate(size_ratio_max=0.5), "size"),
        ((1.0, 1.0, 0.0), Gate(metric_loss_max=0.01), "gains nothing"),
    ],
)
async def test_what_does_not_fit_is_told_why_and_not_registered(effect, gate, words: str, tmp_path: Path):
    versions, progress = MemoryVersions(), KeptProgress()
    tools = some_tools(ScriptedChildren({"int8_static": effect}), versions)
    result = await Optimizing(tools).run(
        a_running_job(tmp_path / "j"), a_spec(gate=gate, alias="a"), progress
    )
    (variant,) = result.variants
    assert not variant.accepted
    assert words in variant.refusals[0]
    assert not versions.registered
    assert not versions.aliases
    assert not progress.decided


async def test_nothing_is_registered_when_the_job_is_cancelled_before_it_is_decided(tmp_path: Path):
    versions = MemoryVersions()
    tools = some_tools(ScriptedChildren(INT8), versions)
    with pytest.raises(ConflictError):
        await Optimizing(tools).run(a_running_job(tmp_path / "j"), a_spec(), KeptProgress(is_cancelled=True))
    assert not versions.registered


async def test_what_is_slower_here_is_taken_for_its_size_alone_and_the_log_says_so(tmp_path: Path):
    progress = KeptProgress()
    tools = some_tools(ScriptedChildren({"int8_static": (0.8, 0.3, 0.0)}))
    result = await Optimizing(tools).run(a_running_job(tmp_path / "j"), a_spec(), progress)
    assert result.variants[0].accepted
    assert any("slower than the original on this machine" in line for line in progress.lines)


async def test_a_pass_that_does_not_apply_is_left_out_with_a_note_unless_it_is_required(tmp_path: Path):
    children, progress = ScriptedChildren({"prune_structured": (2.0, 0.5, 0.0)}), KeptProgress()
    children.errors = {"prune_trees": NOT_APPLYING, "reduce_svm": NOT_APPLYING}
    runner = Optimizing(some_tools(children))
    result = await runner.run(a_running_job(tmp_path / "j"), a_spec(recipe="fast"), progress)
    assert [step.pass_id for step in result.variants[0].steps] == ["simplify", "prune_structured", "fuse"]
    assert any("prune_trees is left out: it has no trees" in line for line in progress.lines)
    children.errors = {"int8_static": NOT_APPLYING}
    with pytest.raises(InvalidError):
        await runner.run(a_running_job(tmp_path / "k"), a_spec(), progress)


async def test_steps_of_ones_own_are_all_required(tmp_path: Path):
    children = ScriptedChildren({})
    children.errors = {"prune_trees": NOT_APPLYING}
    spec = a_spec(recipe="", steps=(PassStep(pass_id="simplify"), PassStep(pass_id="prune_trees")))
    with pytest.raises(InvalidError):
        await Optimizing(some_tools(children)).run(a_running_job(tmp_path / "j"), spec, KeptProgress())


async def test_a_required_pass_that_looks_at_rows_is_refused_before_any_work_if_there_are_none(
    tmp_path: Path,
):
    children = ScriptedChildren(INT8)
    with pytest.raises(InvalidError) as raised:
        await Optimizing(some_tools(children)).run(
            a_running_job(tmp_path / "j"), a_spec(dataset=""), KeptProgress()
        )
    assert raised.value.reason == "PASS_NEEDS_ROWS"
    assert not children.ran


async def test_a_job_that_is_done_again_runs_no_pass_again_and_registers_nothing_twice(tmp_path: Path):
    versions, cache, children = MemoryVersions(), MemoryPasses(), ScriptedChildren(INT8)
    runner = Optimizing(some_tools(children, versions, cache))
    first = await runner.run(a_running_job(tmp_path / "j"), a_spec(), KeptProgress())
    children.ran.clear()
    again = await runner.run(a_running_job(tmp_path / "k", epoch=2), a_spec(), KeptProgress())
    assert children.ran == ["describe", "measure"]
    assert again == first
    assert len(versions.registered) == 1


async def test_a_decided_job_is_only_registered(tmp_path: Path):
    versions, cache, children = MemoryVersions(), MemoryPasses(), ScriptedChildren(INT8)
    runner, progress = Optimizing(some_tools(children, versions, cache)), KeptProgress()
    await runner.run(a_running_job(tmp_path / "j"), a_spec(), progress)
    children.ran.clear()
    (decided,) = progress.decided
    job = a_running_job(tmp_path / "k", epoch=2, decided=decided)
    result = await runner.run(job, a_spec(), KeptProgress())
    assert result.variants[0].version == "models/m/versions/2"
    assert not children.ran
    assert len(versions.registered) == 1


async def test_auto_returns_the_front_with_the_best_first(tmp_path: Path):
    effects = {
        "int8_static": (1.5, 0.3, 0.002),
        "int8_dynamic": (0.5, 0.3, 0.0),
        "prune_structured": (2.0, 0.6, 0.05),
        "distil": (3.0, 0.3, 0.004),
        "fp16": (1.0, 0.5, 0.0),
    }
    versions, progress = MemoryVersions(), KeptProgress()
    runner = Optimizing(some_tools(ScriptedChildren(effects), versions))
    result = await runner.run(
        a_running_job(tmp_path / "j", left_s=100_000.0), a_spec(recipe="auto", alias="best"), progress
    )
    accepted = [each for each in result.variants if each.accepted]
    best = " ".join(step.pass_id for step in accepted[0].steps)
    assert best == "simplify distil int8_static"
    assert all(each.version for each in accepted)
    assert all(each.refusals and not each.version for each in result.variants if not each.accepted)
    assert versions.aliases["models/m/aliases/best"] == accepted[0].version
    assert isinstance(progress.results[0], OptimizationResult)
    sizes = [len(found.variants) for found in progress.results if isinstance(found, OptimizationResult)]
    assert sizes[0] == 1
    assert sizes == sorted(sizes)
    assert progress.shares == sorted(progress.shares)


async def test_auto_goes_on_after_a_pass_that_fails_or_runs_out_of_memory(tmp_path: Path):
    children, progress = ScriptedChildren(INT8), KeptProgress()
    children.errors = {
        "fuse": InvalidError("it crashed", reason="PASS_CRASHED"),
        "distil": OverloadedError("no memory", reason="MEMORY_EXCEEDED"),
    }
    runner = Optimizing(some_tools(children))
    result = await runner.run(a_running_job(tmp_path / "j"), a_spec(recipe="auto"), progress)
    assert result.variants[0].accepted
    assert any("comes to nothing: no memory" in line for line in progress.lines)


async def test_auto_ends_within_its_budget(tmp_path: Path):
    children = ScriptedChildren(INT8)
    children.task_s = 7.0
    runner = Optimizing(some_tools(children))
    job = a_running_job(tmp_path / "j", left_s=90.0)
    result = await runner.run(job, a_spec(recipe="auto"), KeptProgress())
    assert children.now_s <= 90.0
    assert result.baseline is not None


async def test_auto_with_no_time_at_all_measures_the_original(tmp_path: Path):
    runner = Optimizing(some_tools(ScriptedChildren(INT8)))
    result = await runner.run(
        a_running_job(tmp_path / "j", left_s=2.0), a_spec(recipe="auto"), KeptProgress()
    )
    assert result.baseline is not None
    assert not result.variants


async def test_what_is_away_is_waited_for_by_whoever_runs_the_job(tmp_path: Path):
    children = ScriptedChildren(INT8)
    children.errors = {"simplify": UnavailableError("no child could be started")}
    with pytest.raises(UnavailableError):
        await Optimizing(some_tools(children)).run(
            a_running_job(tmp_path / "j"), a_spec(recipe="auto"), KeptProgress()
        )
