"""Blobs are deleted only when nothing needs them, however commits, deletions and rounds of the collector interleave."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from servemesh.registry.domain.collecting import Orphan, is_claimable, judged

START = datetime(2026, 1, 1, tzinfo=UTC)
GRACE = timedelta(hours=24)
BLOBS = ("aa", "bb", "cc", "dd")
PAGE = 3


def test_a_blob_that_nothing_needs_is_an_orphan_first_and_condemned_after_the_grace():
    fresh = judged(["aa"], used=set(), known={}, now=START, grace=GRACE)
    assert fresh.orphaned == (Orphan(sha256="aa", since=START),)
    known = {"aa": fresh.orphaned[0]}
    almost = START + GRACE - timedelta(seconds=1)
    assert judged(["aa"], used=set(), known=known, now=almost, grace=GRACE).is_empty
    verdict = judged(["aa"], used=set(), known=known, now=START + GRACE, grace=GRACE)
    assert [orphan.is_condemned for orphan in verdict.condemned] == [True]


def test_an_orphan_that_is_needed_again_starts_anew():
    known = {"aa": Orphan(sha256="aa", since=START)}
    verdict = judged(["aa"], used={"aa"}, known=known, now=START + 2 * GRACE, grace=GRACE)
    assert (verdict.cleared, verdict.condemned) == (("aa",), ())


def test_only_a_condemned_blob_cannot_be_claimed():
    orphan = Orphan(sha256="aa", since=START)
    assert is_claimable([orphan])
    assert not is_claimable([orphan, Orphan(sha256="bb", since=START, is_condemned=True)])


class World:
    """What the database and the object store hold. Each method is one transaction or one call of the store."""

    def __init__(self, seed: int, *, is_claiming: bool = True) -> None:
        self.chance = random.Random(seed)
        self.is_claiming = is_claiming
        self.now = START
        self.stored: set[str] = set()
        self.claims: dict[int, frozenset[str]] = {}
        self.versions: dict[int, frozenset[str]] = {}
        self.known: dict[str, Orphan] = {}

    @property
    def used(self) -> set[str]:
        return {blob for needed in (*self.claims.values(), *self.versions.values()) for blob in needed}

    def claim(self, key: int, blobs: frozenset[str]) -> bool:
        if not self.is_claiming:
            return True
        if not is_claimable([self.known[blob] for blob in blobs if blob in self.known]):
            return False
        for blob in blobs:
            self.known.pop(blob, None)
        self.claims[key] = blobs
        return True

    def judge(self, page: list[str]) -> None:
        verdict = judged(page, used=self.used, known=self.known, now=self.now, grace=GRACE)
        for orphan in (*verdict.orphaned, *verdict.condemned):
            self.known[orphan.sha256] = orphan
        for blob in verdict.cleared:
            del self.known[blob]

    def committing(self, key: int) -> Iterator[None]:
        """One commit; between any two steps others have their turns. It may be given up on the way."""
        blobs = frozenset(self.chance.sample(BLOBS, self.chance.randint(1, 3)))
        while not self.claim(key, blobs):
            yield
        yield
        for blob in sorted(blobs):
            is_there = blob in self.stored
            yield
            if not is_there:
                self.stored.add(blob)
            yield
        self.claims.pop(key, None)
        if self.chance.random() < 0.7:
            self.versions[key] = blobs

    def deleting(self) -> Iterator[None]:
        """One Version is deleted."""
        yield
        if self.versions:
            del self.versions[self.chance.choice(sorted(self.versions))]

    def collecting(self) -> Iterator[None]:
        """One round. What it lists is old by the time that it judges."""
        yield from self._delete_condemned()
        listing = sorted(self.stored)
        yield
        for start in range(0, len(listing), PAGE):
            self.judge(listing[start : start + PAGE])
            yield
        yield from self._delete_condemned()

    def _delete_condemned(self) -> Iterator[None]:
        for blob in sorted(blob for blob, orphan in self.known.items() if orphan.is_condemned):
            yield
            self.stored.discard(blob)
            yield
            del self.known[blob]

    def lost(self) -> set[str]:
        """Blobs that Versions need and nobody has."""
        return {blob for needed in self.versions.values() for blob in needed} - self.stored


def lived(world: World, steps: int = 400) -> bool:
    """Run a random history; whether no Version ever lacked a blob. The collector is cut off now and then."""
    actors: list[Iterator[None]] = []
    collector = world.collecting()
    for step in range(steps):
        world.now += timedelta(hours=world.chance.choice((0, 0, 0, 1, 30)))
        what = world.chance.random()
        if what < 0.15:
            actors.append(world.committing(step))
        elif what < 0.25:
            actors.append(world.deleting())
        elif what < 0.27:
            collector = world.collecting()  # killed, and started again
        elif what < 0.6:
            if next(collector, "over") == "over":
                collector = world.collecting()
        elif actors:
            actor = world.chance.choice(actors)
            if next(actor, "over") == "over":
                actors.remove(actor)
        if world.lost():
            return False
    return True


@pytest.mark.parametrize("seed", range(200))
def test_no_version_ever_lacks_a_blob(seed: int):
    assert lived(World(seed))


@pytest.mark.parametrize("seed", range(20))
def test_in_the_end_the_store_holds_what_is_needed_and_nothing_else(seed: int):
    world = World(seed)
    lived(world)
    world.claims.clear()  # what was under way is given up
    for _ in range(3):
        for _step in world.collecting():
            pass
        world.now += GRACE
    assert world.stored == world.used
    assert not world.known


def test_without_claims_versions_would_lose_blobs():
    assert not all(lived(World(seed, is_claiming=False)) for seed in range(50))
