"""The SDK for programs that block."""

from __future__ import annotations

import random
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from numpy.typing import ArrayLike

from servemesh.client import deployments, inference, models, results, transfers
from servemesh.client.attempts import DEFAULT_ADDRESS, Addresses
from servemesh.client.blocking import BlockingRunner
from servemesh.client.inference import Parameter
from servemesh.client.retries import RetryPolicy
from servemesh.client.streaming import AHEAD_MAX, InferRequest
from servemesh.client.sync_metrics import Metrics
from servemesh.client.sync_optimizer import CALL_S, TRANSFER_S, Optimizer, silent
from servemesh.client.transfers import Progress
from servemesh.errors import ServemeshError


class Client:
    """A mesh, seen by a program that blocks. Threads may share one; close it when done, or use `with`.

    `addresses` are host:port of one mesh's load balancers; when one does not answer, the next is used
    within a second. Every method raises a `servemesh.errors.ServemeshError` whose class says what kind it
    is: InvalidError, MissingError, ConflictError, OverloadedError, UnavailableError, ExpiredError; branch on
    class and `reason`, never on the text. UnavailableError is raised only after retries: full jitter, as the
    server's pushback asks, never past `timeout_s`, which is the time for the whole method in seconds.
    `optimizer` makes new Versions out of programs and of other Versions; `metrics` tells what the mesh did and does.
    """

    def __init__(
        self, addresses: str | Sequence[str] = DEFAULT_ADDRESS, *, retry: RetryPolicy | None = None
    ) -> None:
        listed = [addresses] if isinstance(addresses, str) else addresses
        self._runner = BlockingRunner(Addresses(listed), retry or RetryPolicy(), random.random)
        self.optimizer = Optimizer(self._runner)
        self.metrics = Metrics(self._runner)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections; calls under way are cancelled."""
        self._runner.close()

    def infer(
        self,
        model: str,
        inputs: Mapping[str, ArrayLike],
        *,
        version: str | int = "",
        outputs: Sequence[str] | None = None,
        parameters: Mapping[str, Parameter] | None = None,
        timeout_s: float = CALL_S,
    ) -> results.InferResult:
        """Run `model` on `inputs`, a mapping from input name to array, and return its outputs as arrays.

        Each array has the shape and the dtype of the model's signature (see `inputs`); the first axis is the
        batch where the model has one. Text and bytes make BYTES tensors, ml_dtypes.bfloat16 BF16. `version`
        is a version id or an alias; without it the deployed one answers. `outputs` limits what is returned.
        At most 64 MiB travel either way. InvalidError names what does not fit; MissingError: the model is not
        deployed.
        """
        message = inference.request(model, inputs, version=version, outputs=outputs, parameters=parameters)
        return self._runner.run(inference.infer(message), timeout_s)

    def infer_stream(
        self,
        requests: Iterable[InferRequest],
        *,
        ahead_max: int = AHEAD_MAX,
        timeout_s: float | None = None,
    ) -> Iterator[results.InferResult | ServemeshError]:
        """Run many requests over one stream and give one outcome for each, in the order of the requests.

        A request that fails has its error as its outcome, not raised, and the stream goes on. Up to
        `ahead_max` requests are read and sent before the first outcome is given; 1 if a request depends on
        the outcome before it. `timeout_s` is the time for all of them. UnavailableError: the stream broke;
        requests without an outcome may have run.
        """
        return self._runner.stream(requests, ahead_max, timeout_s)

    def inputs(
        self, model: str, *, version: str | int = "", timeout_s: float = CALL_S
    ) -> tuple[results.Tensor, ...]:
        """Return name, datatype and shape of each input of a deployed model."""
        return self._runner.run(inference.signature(model, version), timeout_s)

    def push(
        self,
        model: str,
        path: str | Path,
        *,
        labels: Mapping[str, str] | None = None,
        on_progress: Progress = silent,
        timeout_s: float = TRANSFER_S,
    ) -> results.Version:
        """Upload a model file, or a folder with one, as the next Version of `model`, and return it.

        Pushing the same files again after a broken upload goes on where it broke off. `on_progress` is told
        the bytes moved and the bytes in all. InvalidError: the model is refused, and why.
        """
        operation = transfers.push(model, Path(path), labels or {}, on_progress)
        return self._runner.run(operation, timeout_s)

    def pull(
        self,
        model: str,
        folder: str | Path,
        *,
        version: str | int = "",
        on_progress: Progress = silent,
        timeout_s: float = TRANSFER_S,
    ) -> results.Version:
        """Download a Version (id, alias, or the newest) into `folder` and return it; every file is verified."""
        return self._runner.run(transfers.pull(model, version, Path(folder), on_progress), timeout_s)

    def models(self, *, timeout_s: float = CALL_S) -> list[results.Model]:
        """Return every Model, by name."""
        return self._runner.run(models.models(), timeout_s)

    def versions(self, model: str, *, timeout_s: float = CALL_S) -> list[results.Version]:
        """Return the Versions of `model`, newest first."""
        return self._runner.run(models.versions(model), timeout_s)

    def remove(self, model: str, *, version: str | int = "", timeout_s: float = CALL_S) -> None:
        """Delete one Version, or the Model with all of them. ConflictError while it is deployed."""
        self._runner.run(models.remove(model, version), timeout_s)

    def aliases(self, model: str, *, timeout_s: float = CALL_S) -> list[results.Alias]:
        """Return the Aliases of `model`, by name."""
        return self._runner.run(models.aliases(model), timeout_s)

    def alias(
        self, model: str, alias: str, *, as_of: datetime | None = None, timeout_s: float = CALL_S
    ) -> results.Alias:
        """Return where an Alias points, or pointed at `as_of` (UTC unless it has a zone)."""
        return self._runner.run(models.alias(model, alias, as_of), timeout_s)

    def set_alias(self, model: str, alias: str, version: int, *, timeout_s: float = CALL_S) -> results.Alias:
        """Point an Alias to a Version, atomically; deployments of the Alias follow."""
        return self._runner.run(models.set_alias(model, alias, version), timeout_s)

    def remove_alias(self, model: str, alias: str, *, timeout_s: float = CALL_S) -> None:
        """Delete an Alias; its history stays."""
        self._runner.run(models.remove_alias(model, alias), timeout_s)

    def alias_history(self, model: str, alias: str, *, timeout_s: float = CALL_S) -> list[results.AliasMove]:
        """Return where an Alias pointed and when, newest first."""
        return self._runner.run(models.alias_history(model, alias), timeout_s)

    def deploy(
        self,
        model: str,
        *,
        version: str | int = "",
        replicas: int | None = None,
        wait_s: float = 0.0,
        timeout_s: float = CALL_S,
    ) -> results.Deployment:
        """Have `model` served, or change how: which Version (id or alias; without one the newest) and on how
        many workers (0: loaded on demand).

        With `wait_s` it returns when calls will be answered. ConflictError: it cannot be served, and why;
        ExpiredError: not ready within `wait_s`, it goes on in the background.
        """
        operation = deployments.deploy(model, version, replicas, wait_s, time.monotonic)
        return self._runner.run(operation, timeout_s + wait_s)

    def undeploy(self, model: str, *, timeout_s: float = CALL_S) -> None:
        """Have `model` served no more; calls under way are finished."""
        self._runner.run(deployments.undeploy(model), timeout_s)

    def deployments(self, *, timeout_s: float = CALL_S) -> list[results.Deployment]:
        """Return every Deployment, by name."""
        return self._runner.run(deployments.deployments(), timeout_s)

    def status(self, *, timeout_s: float = CALL_S) -> results.Status:
        """Return how the mesh is: its workers with their slots, its deployments, which parts are away."""
        return self._runner.run(deployments.status(), timeout_s)

    def statistics(self, *, timeout_s: float = CALL_S) -> list[results.Statistics]:
        """Return what each Version of the mesh has done so far; two readings make rates."""
        return self._runner.run(deployments.statistics(), timeout_s)
