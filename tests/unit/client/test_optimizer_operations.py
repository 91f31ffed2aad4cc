"""Operations on the optimizer, carried out against one that the test scripts."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from servemesh.api.optimizer.v1 import optimizer_pb2 as pb
from servemesh.api.registry.v1 import registry_pb2 as registry
from servemesh.client import Gate, JobLimits, MeasurementPlan, Step, job_watching, optimizing, sources
from servemesh.client.attempts import Finished, Outcome, advance
from servemesh.client.jobs import Job
from servemesh.client.steps import Call, Operation, Receive, Send, Work
from servemesh.errors import ExpiredError, InvalidError, UnavailableError

DIGEST = "a" * 64
JOB = "optimizations/j1"


class ScriptedOptimizer:
    """Answers each kind of request with a function of the test; keeps what it was sent."""

    def __init__(self, **answers: Callable[[Any], Any]) -> None:
        self.answers = answers
        self.asked: list[Any] = []
        self.breaks = 0

    def run(self, operation: Operation[Any]) -> Any:
        outcome = Outcome()
        while True:
            step = advance(operation, outcome)
            if isinstance(step, Finished):
                return step.value
            try:
                outcome = Outcome(value=self._carried_out(step))
            except Exception as error:  # noqa: BLE001 - handed to the operation, as the runners do
                outcome = Outcome(error=error)

    def _carried_out(self, step: Any) -> Any:
        if isinstance(step, Work):
            return step.work()
        if isinstance(step, Send):
            return self._taken_in(list(step.requests()))
        if isinstance(step, Call | Receive):
            self.asked.append(step.request)
            answer = self.answers[type(step.request).__name__.removesuffix("Request")](step.request)
            if isinstance(step, Call):
                return answer
            for each in answer:
                if isinstance(each, Exception):
                    raise each
                step.take(each)
        return None

    def _taken_in(self, requests: list[pb.UploadSourceRequest]) -> pb.UploadSourceResponse:
        if self.breaks:
            self.breaks -= 1
            raise UnavailableError("the stream broke")
        files = {file.path: b"" for file in requests[0].source.files}
        for request in requests[1:]:
            files[request.path] += request.data
        self.asked.append(files)
        source = pb.Source(name=f"sources/{DIGEST}", files=requests[0].source.files)
        return pb.UploadSourceResponse(source=source)


def silent(moved: int, total: int) -> None:
    """Nobody looks at the progress."""


def watched(*states: int) -> list[pb.WatchJobResponse]:
    return [
        pb.WatchJobResponse(job=pb.Job(state=state, progress_percent=index))  # type: ignore[arg-type]
        for index, state in enumerate(states)
    ]


def an_optimization(state: int = pb.Job.STATE_SUCCEEDED) -> pb.GetOptimizationResponse:
    return pb.GetOptimizationResponse(
        optimization=pb.Optimization(
            name=JOB,
            source_version="models/m/versions/1",
            job=pb.Job(state=state),  # type: ignore[arg-type]
        )
    )


def test_a_folder_is_sent_file_by_file_and_anew_when_the_stream_breaks(tmp_path: Path):
    (tmp_path / "a.npy").write_bytes(b"1" * 2_500_000)
    (tmp_path / "b.npy").write_bytes(b"")
    optimizer, moved = ScriptedOptimizer(), []
    optimizer.breaks = 2
    source = optimizer.run(sources.upload_source(tmp_path, lambda done, total: moved.append((done, total))))
    assert source.source == DIGEST
    assert source.paths == ("a.npy", "b.npy")
    assert optimizer.asked == [{"a.npy": b"1" * 2_500_000, "b.npy": b""}]
    assert moved[-1] == (2_500_000, 2_500_000)


def test_an_upload_that_keeps_breaking_is_given_up(tmp_path: Path):
    (tmp_path / "a.npy").write_bytes(b"1")
    optimizer = ScriptedOptimizer()
    optimizer.breaks = 100
    with pytest.raises(UnavailableError):
        optimizer.run(sources.upload_source(tmp_path, silent))


def test_an_optimization_is_asked_for_as_it_was_wished():
    optimizer = ScriptedOptimizer(
        CreateOptimization=lambda request: pb.CreateOptimizationResponse(
            optimization=pb.Optimization(name=JOB, source_version="models/m/versions/2")
        )
    )
    gate = Gate(metric_loss_max=0.02, speedup_min=1.5)
    plan = MeasurementPlan(metric="f1", batch_sizes=(1, 4), rounds=20)
    steps = [Step(pass_id="int8_static", parameters={"rows_max": 32, "op_types": ("Conv",)})]
    found = optimizer.run(
        optimizing.optimize(
            "m", "prod", "auto", steps, "d", gate, plan, "fast", "n@2", JobLimits(time_s=90.5)
        )
    )
    (request,) = optimizer.asked
    wish = request.optimization
    assert wish.source_version == "models/m/aliases/prod"
    assert wish.teacher_version == "models/n/versions/2"
    assert wish.recipe == ""
    assert wish.steps[0].parameters["rows_max"] == 32
    assert list(wish.steps[0].parameters["op_types"]) == ["Conv"]
    assert wish.gate.HasField("speedup_min")
    assert not wish.gate.HasField("size_ratio_max")
    assert list(wish.measurement.batch_sizes) == [1, 4]
    assert wish.limits.time.ToMilliseconds() == 90_500
    assert request.request_id
    assert (found.model, found.version) == ("m", 2)


def test_without_a_version_the_newest_is_meant():
    model = registry.Model(name="models/m", latest_version_id=7)
    optimizer = ScriptedOptimizer(
        GetModel=lambda request: registry.GetModelResponse(model=model),
        CreateEvaluation=lambda request: pb.CreateEvaluationResponse(evaluation=request.evaluation),
    )
    found = optimizer.run(optimizing.evaluate("m", "", "n@3", "", None, None))
    assert (found.version, found.baseline) == (7, "n@3")


def test_a_format_that_is_none_is_refused_before_anything_is_sent(tmp_path: Path):
    optimizer = ScriptedOptimizer()
    with pytest.raises(InvalidError) as raised:
        optimizer.run(optimizing.convert("m", tmp_path, "pickle", "", 0, 0, None, silent))
    assert "torch_export" in raised.value.message
    assert not optimizer.asked


def test_a_job_is_waited_for_over_broken_streams_and_an_optimizer_that_is_away():
    running, done = pb.Job.STATE_RUNNING, pb.Job.STATE_SUCCEEDED
    streams = iter(
        [
            [*watched(running), UnavailableError("it broke")],
            [ExpiredError("too long")],
            [*watched(running, done)],
        ]
    )
    looks = iter([an_optimization(running), UnavailableError("away"), an_optimization()])

    def look(request: Any) -> Any:
        found = next(looks)
        if isinstance(found, Exception):
            raise found
        return found

    optimizer = ScriptedOptimizer(WatchJob=lambda request: next(streams), GetOptimization=look)
    told: list[Job] = []
    found = optimizer.run(job_watching.wait(JOB, told.append, 100.0, lambda: 0.0))
    assert found.job.state == "SUCCEEDED"
    assert [job.state for job in told] == ["RUNNING", "RUNNING", "SUCCEEDED"]


def test_a_job_that_goes_on_is_not_waited_for_for_ever():
    optimizer = ScriptedOptimizer(
        WatchJob=lambda request: watched(pb.Job.STATE_RUNNING),
        GetOptimization=lambda request: an_optimization(pb.Job.STATE_RUNNING),
    )
    times = iter(range(100))
    with pytest.raises(ExpiredError) as raised:
        optimizer.run(job_watching.wait(JOB, lambda job: None, 5.0, lambda: float(next(times))))
    assert raised.value.reason == "JOB_PENDING"


def test_an_optimizer_that_stays_away_is_given_up():
    def away(request: Any) -> Any:
        raise UnavailableError("away")

    optimizer = ScriptedOptimizer(WatchJob=away, GetOptimization=away)
    times = iter(range(0, 1000, 10))
    with pytest.raises(UnavailableError):
        optimizer.run(job_watching.wait(JOB, lambda job: None, 5000.0, lambda: float(next(times))))


def test_the_log_is_read_to_its_end_and_says_where_to_go_on():
    lines = [pb.JobLogLine(text=str(number)) for number in range(1500)]

    def page(request: pb.ListJobLogLinesRequest) -> pb.ListJobLogLinesResponse:
        begin = int(request.page_token or 0)
        found = lines[begin : begin + request.page_size]
        return pb.ListJobLogLinesResponse(job_log_lines=found, next_page_token=str(begin + len(found)))

    found, after = ScriptedOptimizer(ListJobLogLines=page).run(job_watching.log(JOB))
    assert [line.text for line in found] == [line.text for line in lines]
    assert after == "1500"


def test_numbers_of_parameters_come_back_as_they_were():
    recipe = pb.Recipe(recipe_id="r", steps=[pb.PassStep(**{"pass": "p"})])
    recipe.steps[0].parameters.update({"rows": 8, "share": 0.5, "names": ["a"], "yes": True})
    optimizer = ScriptedOptimizer(ListRecipes=lambda request: pb.ListRecipesResponse(recipes=[recipe]))
    (found,) = optimizer.run(optimizing.recipes())
    assert found.steps[0].parameters == {"rows": 8, "share": 0.5, "names": ["a"], "yes": True}
    assert isinstance(found.steps[0].parameters["rows"], int)
