"""Which Versions answer, and what a Deployment is said to be."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from servemesh.errors import InvalidError
from servemesh.paging import page_request
from servemesh.registry.domain.batching import BatchingPolicy
from servemesh.registry.domain.deployments import (
    Deployment,
    Share,
    TrafficTarget,
    default_version,
    next_serving,
    shares,
)
from servemesh.registry.domain.duties import StandstillWatch
from servemesh.registry.domain.fleet import SlotState
from servemesh.registry.domain.observing import DeploymentState, observed
from servemesh.registry.domain.placement import Shortfall
from tests.harness.registry import a_worker, holding

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ONE = (Share(version_id=1, weight_percent=100),)
TWO = (Share(version_id=2, weight_percent=100),)


def a_deployment(replicas: int | None = None) -> Deployment:
    target = TrafficTarget(target="models/iris/versions/1", weight_percent=100)
    return Deployment(
        model_id="iris",
        traffic=(target,),
        replicas=replicas,
        serving=ONE,
        create_time=NOW,
        update_time=NOW,
        revision=1,
    )


def test_targets_that_mean_one_version_share_it() -> None:
    traffic = [
        TrafficTarget(target="models/iris/versions/3", weight_percent=40),
        TrafficTarget(target="models/iris/aliases/prod", weight_percent=60),
    ]
    assert shares(traffic, {"prod": 3}) == (Share(version_id=3, weight_percent=100),)


def test_the_larger_share_is_the_default_and_the_newer_of_equals() -> None:
    assert (
        default_version([Share(version_id=9, weight_percent=10), Share(version_id=1, weight_percent=90)]) == 1
    )
    assert (
        default_version([Share(version_id=1, weight_percent=50), Share(version_id=2, weight_percent=50)]) == 2
    )
    assert default_version([]) is None


@pytest.mark.parametrize(
    ("ready", "answers"),
    [
        ({1: 2, 2: 0}, ONE),
        ({1: 2, 2: 1}, ONE),
        ({1: 2, 2: 2}, TWO),
        ({1: 0, 2: 0}, TWO),
        ({}, TWO),
    ],
)
def test_the_old_version_answers_until_the_new_one_is_ready_on_enough_workers(
    ready: dict[int, int], answers: tuple[Share, ...]
) -> None:
    assert next_serving(ONE, TWO, ready, needed=2) == answers


def test_new_weights_of_the_same_versions_hold_at_once() -> None:
    before = (Share(version_id=1, weight_percent=90), Share(version_id=2, weight_percent=10))
    after = (Share(version_id=1, weight_percent=10), Share(version_id=2, weight_percent=90))
    assert next_serving(before, after, {1: 1, 2: 0}, needed=2) == after


@pytest.mark.parametrize(
    ("states", "replicas", "state"),
    [
        ([SlotState.READY, SlotState.READY], None, DeploymentState.READY),
        ([SlotState.READY, SlotState.LOADING], None, DeploymentState.PENDING),
        ([SlotState.FAILED, SlotState.LOADING], None, DeploymentState.PENDING),
        ([SlotState.FAILED, SlotState.READY], None, DeploymentState.PENDING),
        ([SlotState.FAILED, SlotState.FAILED], None, DeploymentState.FAILED),
        ([SlotState.UNLOADED], 0, DeploymentState.READY),
        ([SlotState.READY], 3, DeploymentState.PENDING),
        ([], None, DeploymentState.PENDING),
    ],
)
def test_a_deployment_is_what_its_slots_are(
    states: list[SlotState], replicas: int | None, state: DeploymentState
) -> None:
    workers = [holding(a_worker(f"w{i}"), ("iris", 1), state=slot) for i, slot in enumerate(states)]
    assert observed(a_deployment(replicas), ONE, workers, {}).state is state


def test_what_lacks_a_place_says_why() -> None:
    shortfall = Shortfall(reason="NO_ROOM", message="no worker has room")
    observation = observed(a_deployment(), ONE, [a_worker()], {("iris", 1): shortfall})
    assert (observation.state, observation.reason) == (DeploymentState.PENDING, "NO_ROOM")
    assert observation.message == "version 1: no worker has room"


@pytest.mark.parametrize(
    "policy",
    [
        BatchingPolicy(batch_rows_max=5_000),
        BatchingPolicy(batch_rows_max=-1),
        BatchingPolicy(linger_s=1.5),
        BatchingPolicy(queue_rows_max=2_000_000),
    ],
)
def test_batching_out_of_range_names_the_field(policy: BatchingPolicy) -> None:
    with pytest.raises(InvalidError) as refusal:
        policy.checked()
    assert refusal.value.metadata["field"].startswith("deployment.batching.")


def test_a_page_has_50_items_unless_asked_and_1000_at_most() -> None:
    assert page_request("s", 0, "").size == 50
    assert page_request("s", 7, "").size == 7
    assert page_request("s", 5_000, "").size == 1_000


@pytest.mark.parametrize("token", ["x", "!!!", "a" * 2_000, "W10", "eyJhIjoxfQ", "WzEsMl0", "\u00e9"])
def test_a_token_nobody_gave_is_refused(token: str) -> None:
    with pytest.raises(InvalidError) as refusal:
        page_request("s", 1, token)
    assert refusal.value.reason == "PAGE_TOKEN_MALFORMED"


def test_a_forged_key_that_is_no_number_is_refused() -> None:
    token = page_request("s", 1, "").page(["x", "y"], str).next_page_token
    with pytest.raises(InvalidError):
        assert page_request("s", 1, token).after_number


def test_a_token_continues_after_the_last_item() -> None:
    page = page_request("s", 2, "").page(["a", "b", "c"], str)
    assert page.items == ("a", "b")
    assert page_request("s", 2, page.next_page_token).after == "b"
    assert page_request("s", 3, "").page(["a", "b", "c"], str).next_page_token == ""


def test_a_count_stalls_only_after_it_was_watched_for_a_whole_term() -> None:
    watch = StandstillWatch(10.0)
    assert watch.stalled({"a": 1, "b": 1}, 0.0) == []
    assert watch.stalled({"a": 1, "b": 2}, 9.9) == []
    assert watch.stalled({"a": 1, "b": 2}, 10.0) == ["a"]
    assert watch.stalled({"b": 2}, 20.0) == ["b"]
