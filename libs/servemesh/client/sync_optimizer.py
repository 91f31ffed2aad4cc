"""The optimizer, as programs that block see it: `Client.optimizer`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from servemesh.client import job_watching, jobs, optimizing, sources
from servemesh.client.asking import AUTO, Gate, Limits, MeasurementPlan
from servemesh.client.blocking import BlockingRunner
from servemesh.client.job_watching import OnChange
from servemesh.client.transfers import Progress

CALL_S = 30.0
TRANSFER_S = 3600.0
JOB_S = 3600.0


def silent(moved_bytes: int, total_bytes: int) -> None:
    """Report no progress of a transfer."""


def unheard(job: jobs.Job) -> None:
    """Report no change of a job."""


class Optimizer:
    """Everything that makes new Versions: datasets, conversions, optimizations, evaluations.

    Long work is a job: the call that asks for it returns at once with its `name`, `wait` returns its result, `cancel`
    stops it. Errors are raised as by `Client`; a job that fails raises nothing, its `job.error` says why.
    """

    def __init__(self, runner: BlockingRunner) -> None:
        self._runner = runner

    def upload_source(
        self, path: str | Path, *, on_progress: Progress = silent, timeout_s: float = TRANSFER_S
    ) -> jobs.Source:
        """Upload a file, or a folder with all files in it, and return it; the same bytes give the same Source.

        `on_progress` is told the bytes moved and the bytes in all. InvalidError: there is no such file, or it is too
        large. A Source that nothing refers to is deleted after a day or so.
        """
        return self._runner.run(sources.upload_source(Path(path), on_progress), timeout_s)

    def create_dataset(
        self,
        dataset: str,
        path: str | Path,
        *,
        labels: Sequence[str] = (),
        split: jobs.Split | None = None,
        on_progress: Progress = silent,
        timeout_s: float = TRANSFER_S,
    ) -> jobs.Dataset:
        """Upload rows and return them as the Dataset `dataset`.

        `path` is one .npz, .parquet or .csv file with named columns, or a folder with one .npy file per column; the
        first axis of each column is the rows. A column feeds the model's input of its name and has the shape of one
        row of that input; `labels` names the columns that are answers instead. `split` divides the rows in per cent;
        without it 10 calibrate, 70 train and 20 evaluate. ConflictError: there is a Dataset of that name;
        InvalidError names the column that cannot be used.
        """
        operation = optimizing.create_dataset(dataset, Path(path), labels, split, on_progress)
        return self._runner.run(operation, timeout_s)

    def dataset(self, dataset: str, *, timeout_s: float = CALL_S) -> jobs.Dataset:
        """Return one Dataset. MissingError: there is none of that name."""
        return self._runner.run(optimizing.dataset(dataset), timeout_s)

    def datasets(self, *, timeout_s: float = CALL_S) -> list[jobs.Dataset]:
        """Return every Dataset, by name."""
        return self._runner.run(optimizing.datasets(), timeout_s)

    def remove_dataset(self, dataset: str, *, timeout_s: float = CALL_S) -> None:
        """Delete a Dataset. ConflictError while a job that has not ended uses it."""
        self._runner.run(optimizing.remove_dataset(dataset), timeout_s)

    def convert(
        self,
        model: str,
        path: str | Path,
        *,
        format: str = "",
        dataset: str = "",
        tolerance: float = 0.0,
        opset: int = 0,
        limits: Limits = None,
        on_progress: Progress = silent,
        timeout_s: float = TRANSFER_S,
    ) -> jobs.Conversion:
        """Upload a trained program and have it converted to ONNX, checked, and registered as a Version of `model`.

        `path` is a .pt2, .keras, .skops, XGBoost .json or .ubj or LightGBM .txt file, or a Hugging Face or TensorFlow
        SavedModel folder; what it is is found by content unless `format` says it (torch_export, hugging_face, keras,
        tensorflow, sklearn, xgboost, lightgbm). Its outputs are compared on the rows of `dataset`, or on generated
        ones; `tolerance` is the greatest difference, relative to the largest output (0: 1e-4). Pickles and their kin
        are refused: InvalidError, here or as the job's error, says how to save the program anew.
        """
        operation = optimizing.convert(
            model, Path(path), format, dataset, tolerance, opset, limits, on_progress
        )
        return self._runner.run(operation, timeout_s)

    def optimize(
        self,
        model: str,
        *,
        version: str | int = "",
        recipe: str = AUTO,
        steps: Sequence[jobs.Step] = (),
        dataset: str = "",
        gate: Gate | None = None,
        measurement: MeasurementPlan | None = None,
        alias: str = "",
        teacher: str = "",
        limits: Limits = None,
        timeout_s: float = CALL_S,
    ) -> jobs.Optimization:
        """Ask for smaller or faster variants of a Version (id or alias; without one the newest).

        `recipe` names a sequence of passes, see `recipes`; "auto" searches within `limits.time_s`. `steps` are passes
        of your own instead. `dataset` is needed by passes that calibrate or train, and by metrics with labels.
        Variants that keep and reach what `gate` says (without one: a loss of at most 0.01) become Versions; `alias`
        is then pointed to the best. Passes that train learn what `teacher` answers: a version of the model or
        MODEL@VERSION, without one the Version itself. InvalidError names the pass or parameter that is wrong;
        MissingError: there is no such Version or Dataset.
        """
        operation = optimizing.optimize(
            model, version, recipe, steps, dataset, gate, measurement, alias, teacher, limits
        )
        return self._runner.run(operation, timeout_s)

    def evaluate(
        self,
        model: str,
        *,
        version: str | int = "",
        against: str | int = "",
        dataset: str = "",
        measurement: MeasurementPlan | None = None,
        limits: Limits = None,
        timeout_s: float = CALL_S,
    ) -> jobs.Evaluation:
        """Ask that a Version be measured on the evaluate split of `dataset`: metric, size, speed, memory.

        `against` is what it is compared to in the same run: an id or alias of `model`, or MODEL@VERSION.
        """
        operation = optimizing.evaluate(model, version, against, dataset, measurement, limits)
        return self._runner.run(operation, timeout_s)

    def job(self, name: str, *, timeout_s: float = CALL_S) -> jobs.AnyJob:
        """Return the job of that name (`optimizations/ID` and its kin) with its result so far."""
        return self._runner.run(job_watching.job(name), timeout_s)

    def list_jobs(self, *, timeout_s: float = CALL_S) -> list[jobs.AnyJob]:
        """Return every job, newest first."""
        return self._runner.run(job_watching.list_jobs(), timeout_s)

    def wait(self, name: str, *, on_change: OnChange = unheard, wait_s: float = JOB_S) -> jobs.AnyJob:
        """Return the job when it has ended, in whichever state; `on_change` is told of each change until then.

        ExpiredError: it has not ended within `wait_s`; it goes on in the background.
        """
        operation = job_watching.wait(name, on_change, wait_s, time.monotonic)
        return self._runner.run(operation, wait_s + CALL_S)

    def cancel(self, name: str, *, timeout_s: float = CALL_S) -> jobs.Job:
        """Ask that a job be stopped: it ends within seconds and registers nothing. One that has ended stays so."""
        return self._runner.run(job_watching.cancel(name), timeout_s)

    def remove_job(self, name: str, *, timeout_s: float = CALL_S) -> None:
        """Delete a job with its log; Versions that it made stay. ConflictError while it has not ended."""
        self._runner.run(job_watching.remove(name), timeout_s)

    def log(self, name: str, *, after: str = "", timeout_s: float = CALL_S) -> tuple[list[jobs.LogLine], str]:
        """Return the lines of a job's log after the place `after`, and the place to go on from.

        The place is empty when the job has ended and there will be no more.
        """
        return self._runner.run(job_watching.log(name, after), timeout_s)

    def passes(self, *, timeout_s: float = CALL_S) -> list[jobs.Pass]:
        """Return what the optimizer can do to models, with all parameters."""
        return self._runner.run(optimizing.passes(), timeout_s)

    def recipes(self, *, timeout_s: float = CALL_S) -> list[jobs.Recipe]:
        """Return the named sequences of passes."""
        return self._runner.run(optimizing.recipes(), timeout_s)
