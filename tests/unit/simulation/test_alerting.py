"""Histories of alerts: they fire and end only when they should, do not flap, and whoever is to know knows."""

from __future__ import annotations

import uuid

from servemesh.metrics.domain.alerting.alerts import State
from servemesh.metrics.domain.alerting.grouping import Pace
from servemesh.metrics.domain.alerting.silences import Silence
from tests.harness.simulated_alerts import World, a_rule
from tests.harness.simulation import History, explore

HISTORIES = 120
LOOKS = 120


def alerting(history: History) -> None:
    world = _world(history)
    for _ in range(LOOKS):
        _something_happens(world)
        world.look(blind=history.happens(0.05))
        world.now_s += history.chance.choice([10.0, 15.0, 15.0, 15.0, 20.0, 40.0])
    _knows_at_last(world)


def _world(history: History) -> World:
    chance = history.chance
    spans = [0.0, 30.0, 60.0, 300.0]
    rules = {
        rule_id: a_rule(
            rule_id,
            for_s=chance.choice(spans),
            keep_s=chance.choice(spans[1:]),
            forget_s=chance.choice([120.0, 900.0]),
            group_by=("model",) if history.happens(0.3) else (),
        )
        for rule_id in ("hot", "slow")
    }
    pace = Pace(
        wait_s=chance.choice([0.0, 10.0, 30.0]),
        interval_s=chance.choice([30.0, 60.0, 120.0]),
        repeat_s=chance.choice([300.0, 3_600.0]),
    )
    world = World(history=history, rules=rules, pace=pace, gap_s=chance.choice([45.0, 120.0]))
    world.values = {(rule_id, model): 0.0 for rule_id in rules for model in "abc"[: chance.randint(1, 3)]}
    return world


def _something_happens(world: World) -> None:
    history, chance = world.history, world.history.chance
    for key in world.values:
        if history.happens(0.15):  # swings about the threshold, now and then far from it
            world.values[key] = chance.choice([0.0, 0.4, 0.6, 0.9, 1.1, 1.5, 3.0])
    if history.happens(0.03):
        world.now_s += chance.choice([100.0, 1_000.0])  # nobody looks for a while
    if history.happens(0.1):
        world.restart()
    if history.happens(0.03):
        filters = {"model": (chance.choice("abc"),)} if history.happens(0.5) else {"rule": ("hot",)}
        end_s = world.now_s + chance.choice([60.0, 600.0])
        silence_id = f"s{uuid.UUID(int=chance.getrandbits(128)).hex[:8]}"
        world.silences.append(
            Silence(silence_id=silence_id, filters=filters, end_s=end_s, comment="", create_s=world.now_s)
        )


def _knows_at_last(world: World) -> None:
    """Nothing swings any more, and silences end: what the receiver believes is what is."""
    for _ in range(120):
        world.now_s += 15.0
        world.look()
    firing = {alert.alert_id for alert in world.unsettled if alert.state is State.FIRING}
    assert world.believed.keys() == firing, "the receiver believes something else"
    assert all(alert.state is not State.RESOLVED for alert in world.unsettled), (
        "somebody was not told that it is over"
    )


def test_alerts_fire_and_end_when_they_should_and_whoever_is_to_know_knows():
    explore(alerting, histories=HISTORIES)
