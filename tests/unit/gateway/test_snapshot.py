"""Fleet and traffic → snapshot → xDS messages."""

from __future__ import annotations

from envoy.extensions.upstreams.http.v3 import http_protocol_options_pb2
from hypothesis import given

from servemesh.gateway.adapters.snapshot_file import framed
from servemesh.gateway.adapters.xds_clusters import clusters_of
from servemesh.gateway.adapters.xds_messages import ENDPOINTS, ROUTES, tables_of
from servemesh.gateway.domain.fleet import Fleet, Slot, SlotState, Worker
from servemesh.gateway.domain.snapshot.building import snapshot_of
from servemesh.gateway.domain.snapshot.policy import EdgePolicy
from servemesh.gateway.domain.snapshot.values import Snapshot
from servemesh.gateway.domain.traffic import Share, Traffic
from tests.harness.fleets import FLEETS, SNAPSHOTS, TRAFFICS, neighbours


def snapshot(fleet: Fleet, traffic: Traffic | None = None) -> Snapshot:
    return snapshot_of(fleet, traffic or Traffic(), neighbours(), EdgePolicy())


def a_fleet(*slots: Slot, draining: bool = False) -> Fleet:
    worker = Worker(worker_id="w", incarnation="i", address="127.0.0.1:1", slots=slots, is_draining=draining)
    return Fleet(revision=1, by_id={"w": worker})


@given(FLEETS)
def test_every_name_at_an_endpoint_is_a_ready_slot_of_its_worker(fleet: Fleet) -> None:
    for endpoint in snapshot(fleet).endpoints or ():
        holders = [worker for worker in fleet.workers if worker.address == str(endpoint.address)]
        assert holders
        for name in endpoint.slots:
            model, _, version = name.partition("/")
            assert any(slot.answers(model, version) for worker in holders for slot in worker.ready_slots)
        for model in endpoint.models:
            assert any(slot.answers(model, "") for worker in holders for slot in worker.ready_slots)


@given(FLEETS)
def test_no_two_endpoints_have_one_address(fleet: Fleet) -> None:
    addresses = [endpoint.address for endpoint in snapshot(fleet).endpoints or ()]
    assert len(addresses) == len(set(addresses))


@given(FLEETS, TRAFFICS)
def test_the_shares_of_a_split_end_at_a_hundred(fleet: Fleet, traffic: Traffic) -> None:
    for split in snapshot(fleet, traffic).splits:
        assert len(split.slots) == len(split.up_to_percent) > 1
        assert list(split.up_to_percent) == sorted(set(split.up_to_percent))
        assert split.up_to_percent[-1] == 100


@given(SNAPSHOTS)
def test_equal_snapshots_have_equal_versions(made: Snapshot) -> None:
    assert tables_of(made) == tables_of(made)


@given(SNAPSHOTS)
def test_the_frames_on_disk_hold_every_table(made: Snapshot) -> None:
    frames, count, at = framed(tables_of(made)), 0, 0
    while at < len(frames):
        assert frames[at] == 0
        at += 5 + int.from_bytes(frames[at + 1 : at + 5], "big")
        count += 1
    assert (count, at) == (4, len(frames))


def test_a_slot_is_named_only_while_it_is_ready() -> None:
    loading = Slot(model="m", version_id=1, state=SlotState.LOADING, is_default=True)
    ready = Slot(model="m", version_id=2, state=SlotState.READY, aliases=("prod",))
    (endpoint,) = snapshot(a_fleet(loading, ready)).endpoints or ()
    assert (endpoint.models, endpoint.slots) == ((), ("m/2", "m/prod"))


def test_a_draining_worker_is_no_endpoint() -> None:
    ready = Slot(model="m", version_id=2, state=SlotState.READY)
    assert snapshot(a_fleet(ready, draining=True)).endpoints == ()


def test_a_worker_without_ready_slots_is_an_endpoint_without_names() -> None:
    (endpoint,) = snapshot(a_fleet()).endpoints or ()
    assert (endpoint.models, endpoint.slots) == ((), ())


def test_a_single_share_is_no_split() -> None:
    traffic = Traffic(by_model={"m": (Share(version="1", percent=100), Share(version="2", percent=0))})
    assert snapshot(a_fleet(), traffic).splits == ()


def test_an_unknown_fleet_says_nothing_of_endpoints() -> None:
    unknown = snapshot_of(None, Traffic(), neighbours(), EdgePolicy())
    assert ENDPOINTS not in tables_of(unknown)


def test_a_change_of_shares_changes_the_routes_alone() -> None:
    shares = {"m": (Share(version="1", percent=50), Share(version="2", percent=50))}
    before, after = tables_of(snapshot(a_fleet())), tables_of(snapshot(a_fleet(), Traffic(by_model=shares)))
    assert [type_url for type_url in before if before[type_url] != after[type_url]] == [ROUTES]


@given(SNAPSHOTS)
def test_no_service_is_cut_off_for_granting_a_window_for_every_small_message(made: Snapshot) -> None:
    for cluster in clusters_of(made):
        (packed,) = cluster.typed_extension_protocol_options.values()
        options = http_protocol_options_pb2.HttpProtocolOptions()
        assert packed.Unpack(options)
        http2 = options.explicit_http_config.http2_protocol_options
        # An empty message takes 5 bytes of a frame of 16 KiB.
        assert http2.max_inbound_window_update_frames_per_data_frame_sent.value > 16_384 / 5
