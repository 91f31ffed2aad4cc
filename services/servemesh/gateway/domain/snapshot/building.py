"""Fleet and traffic → snapshot: a pure function."""

from __future__ import annotations

from itertools import accumulate

from servemesh.errors import InvalidError
from servemesh.gateway.domain.fleet import Fleet, Slot, Worker
from servemesh.gateway.domain.snapshot.cutting import cuts_for
from servemesh.gateway.domain.snapshot.policy import EdgePolicy
from servemesh.gateway.domain.snapshot.values import (
    Address,
    Endpoint,
    Neighbours,
    Snapshot,
    Split,
    parse_address,
)
from servemesh.gateway.domain.traffic import Share, Traffic


def snapshot_of(
    fleet: Fleet | None,
    traffic: Traffic,
    neighbours: Neighbours,
    policy: EdgePolicy,
    *,
    cuts_before: tuple[int, ...] = (1,),
) -> Snapshot:
    """Return what the edge shall do, given who holds what and how calls are shared.

    A draining worker is not in it; a slot is named only while it is READY; a worker without READY slots is
    an endpoint nevertheless, so that it has been found healthy when its first slot becomes READY. Without a
    fleet, because none is known yet, nothing is said of endpoints, and clusters stay as they were.
    """
    endpoints = None if fleet is None else _endpoints(fleet)
    return Snapshot(
        neighbours=neighbours,
        policy=policy,
        endpoints=endpoints,
        cuts=cuts_before if endpoints is None else cuts_for(endpoints, before=cuts_before),
        splits=tuple(
            _split(model, shares)
            for model, shares in sorted(traffic.by_model.items())
            if len(_with_calls(shares)) > 1
        ),
    )


def _endpoints(fleet: Fleet) -> tuple[Endpoint, ...]:
    by_address: dict[Address, Endpoint] = {}
    for worker in fleet.workers:
        if not worker.is_draining and (address := _address(worker)) is not None:
            # Of two entries with one address, one has gone unnoticed: what both claim is safe to believe.
            endpoint = _endpoint(worker, address)
            known = by_address.get(address)
            by_address[address] = endpoint if known is None else _common(known, endpoint)
    return tuple(by_address[address] for address in sorted(by_address))


def _address(worker: Worker) -> Address | None:
    try:
        address = parse_address(worker.address)
    except InvalidError:
        return None
    return address if address.port else None


def _endpoint(worker: Worker, address: Address) -> Endpoint:
    ready = worker.ready_slots
    return Endpoint(
        address=address,
        models=tuple(sorted({slot.model for slot in ready if slot.is_default})),
        slots=tuple(sorted({name for slot in ready for name in _names(slot)})),
        coming=tuple(sorted({slot.model for slot in worker.slots} - {slot.model for slot in ready})),
    )


def _common(one: Endpoint, other: Endpoint) -> Endpoint:
    return Endpoint(
        address=one.address,
        models=tuple(sorted(set(one.models) & set(other.models))),
        slots=tuple(sorted(set(one.slots) & set(other.slots))),
        coming=tuple(sorted(set(one.coming) | set(other.coming))),
    )


def _names(slot: Slot) -> list[str]:
    return [f"{slot.model}/{version}" for version in (str(slot.version_id), *slot.aliases)]


def _split(model: str, shares: tuple[Share, ...]) -> Split:
    counted = _with_calls(shares)
    return Split(
        model=model,
        slots=tuple(f"{model}/{share.version}" for share in counted),
        up_to_percent=tuple(accumulate(share.percent for share in counted)),
    )


def _with_calls(shares: tuple[Share, ...]) -> tuple[Share, ...]:
    return tuple(share for share in shares if share.percent > 0)
