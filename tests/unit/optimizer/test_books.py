"""Sources, Datasets and jobs as users see them, on a store and an object store in memory."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from servemesh.blobs.memory import MemoryStore
from servemesh.changes import Changes
from servemesh.errors import ConflictError, ExistsError, InvalidError, MissingError, OverloadedError
from servemesh.optimizer.adapters.blob_folders import BlobFolders, FolderSettings
from servemesh.optimizer.adapters.scratch_folders import ScratchFolders
from servemesh.optimizer.domain.jobs import Kind, State
from servemesh.optimizer.domain.records import BLOBS, LogLine, Source
from servemesh.optimizer.domain.splits import Shares
from servemesh.optimizer.domain.uploading import DeclaredFile, UploadLimits
from servemesh.optimizer.domain.work import WorkLimits
from servemesh.optimizer.service.datasets import DatasetBook
from servemesh.optimizer.service.fetching import StoredDatasets, StoredSources
from servemesh.optimizer.service.jobs import JobBook
from servemesh.optimizer.service.ports import OnLog, OnProgress
from servemesh.optimizer.service.sources import Piece, SourceBook
from servemesh.optimizer.service.sweeping import Sweeper, SweepSettings
from servemesh.paging import page_request
from servemesh.requests import RequestKey
from tests.harness.optimizer_store import MemoryOptimizerStore
from tests.harness.optimizer_values import BOUNDS, EVALUATION, OPTIMIZATION, a_conversion, digest
from tests.harness.registry import MovedClock

WORK = WorkLimits(time_s=10, memory_bytes=1024**3, threads=1)
ANSWER = {
    "format": "npz",
    "columns": [{"name": "x", "datatype": "FP32", "row_shape": [4], "label": False}],
    "row_count": 3,
}


class ExaminingChildren:
    """Satisfies ports.ChildTasks: every Source is a Dataset of one column."""

    def __init__(self) -> None:
        self.asked: list[Mapping[str, Any]] = []

    async def run(
        self,
        task: str,
        arguments: Mapping[str, Any],
        folder: Path,
        limits: WorkLimits,
        on_progress: OnProgress,
        on_log: OnLog,
    ) -> dict[str, Any]:
        """Write a data folder."""
        assert task == "examine"
        self.asked.append(arguments)
        (folder / "data").mkdir()
        (folder / "data" / "columns.json").write_text("{}")
        return dict(ANSWER)


@dataclass(frozen=True, slots=True, kw_only=True)
class Books:
    """Everything that keeps something."""

    store: MemoryOptimizerStore
    blobs: MemoryStore
    clock: MovedClock
    children: ExaminingChildren
    sources: SourceBook
    datasets: DatasetBook
    jobs: JobBook
    fetching: StoredDatasets
    sweeper: Sweeper

    async def uploaded(self, text: str = "source") -> Source:
        """A Source of one file."""
        data = text.encode()
        return await self.sources.upload([DeclaredFile(path="a", size_bytes=len(data))], pieces({"a": data}))

    async def blob_keys(self) -> list[str]:
        """What lies in the object store."""
        return [blob.key async for blob in self.blobs.list_blobs(BLOBS)]


@pytest.fixture
def books(tmp_path: Path) -> Books:
    """Books without anything in them."""
    store, blobs, clock, children = MemoryOptimizerStore(), MemoryStore(), MovedClock(), ExaminingChildren()
    scratch = ScratchFolders(tmp_path)
    folders = BlobFolders(blobs, FolderSettings(disk_free_bytes_min=0))
    limits = UploadLimits(bytes_max=1_000, files_max=3, piece_bytes_max=100, disk_free_bytes_min=0)
    sources = StoredSources(store, folders, clock)
    bounds = replace(BOUNDS, jobs_open_max=3, datasets_max=2, watchers_max=1)
    return Books(
        store=store,
        blobs=blobs,
        clock=clock,
        children=children,
        sources=SourceBook(store, blobs, scratch, clock, limits),
        datasets=DatasetBook(store, blobs, scratch, sources, children, clock, bounds, WORK),
        jobs=JobBook(store, clock, Changes(), bounds),
        fetching=StoredDatasets(store, folders),
        sweeper=Sweeper(store, blobs, clock, SweepSettings()),
    )


async def pieces(files: Mapping[str, bytes]) -> AsyncIterator[Piece]:
    """Files in pieces of ten bytes."""
    for path, data in files.items():
        for begin in range(0, len(data), 10):
            yield Piece(path=path, data=data[begin : begin + 10])


def a_request(sha256: str = "one") -> RequestKey:
    """A call's id."""
    return RequestKey(request_id=str(uuid.uuid4()), sha256=digest(sha256))


async def test_a_source_is_named_by_its_content_and_kept_once(books: Books) -> None:
    first, second = await books.uploaded(), await books.uploaded()
    assert first.name == second.name
    assert len(await books.blob_keys()) == 1


@pytest.mark.parametrize(
    ("declared", "sent", "reason"),
    [
        ([DeclaredFile(path="a", size_bytes=2)], {"a": b"abc"}, "MORE_THAN_DECLARED"),
        ([DeclaredFile(path="a", size_bytes=2)], {"b": b"ab"}, "UPLOAD_FILE_UNKNOWN"),
        ([DeclaredFile(path="a", size_bytes=2, sha256="0" * 64)], {"a": b"ab"}, "DIGEST_MISMATCH"),
        ([DeclaredFile(path="/a", size_bytes=2)], {}, "PATH_REFUSED"),
        ([DeclaredFile(path="a", size_bytes=0), DeclaredFile(path="A", size_bytes=0)], {}, "PATH_DUPLICATE"),
    ],
)
async def test_what_is_not_as_declared_is_refused_and_not_kept(
    books: Books, declared: list[DeclaredFile], sent: Mapping[str, bytes], reason: str
) -> None:
    with pytest.raises(InvalidError) as refused:
        await books.sources.upload(declared, pieces(sent))
    assert refused.value.reason == reason
    assert await books.blob_keys() == []


async def test_too_much_is_refused_before_any_byte_comes(books: Books) -> None:
    with pytest.raises(OverloadedError, match="1001 bytes"):
        await books.sources.upload([DeclaredFile(path="a", size_bytes=1_001)], pieces({}))


async def test_a_dataset_is_read_once_and_reaches_jobs_as_a_folder(books: Books, tmp_path: Path) -> None:
    source = await books.uploaded()
    request = a_request()
    made = await books.datasets.create("digits", source.name, ["y"], Shares(seed=7), request)
    assert (made.row_count, made.shares.seed) == (3, 7)
    assert books.children.asked[0]["split"]["seed"] == 7
    assert await books.datasets.create("digits", source.name, ["y"], Shares(seed=7), request) == made
    assert len(books.children.asked) == 1, "a repeated request reads nothing"
    await books.fetching.fetch(made.name, tmp_path / "job")
    assert (tmp_path / "job" / "columns.json").read_text() == "{}"


async def test_a_second_dataset_of_one_name_and_one_too_many_are_refused(books: Books) -> None:
    source = await books.uploaded()
    for name in ("a", "b"):
        await books.datasets.create(name, source.name, [], Shares())
    with pytest.raises(ExistsError):
        await books.datasets.create("a", source.name, [], Shares())
    with pytest.raises(OverloadedError):
        await books.datasets.create("c", source.name, [], Shares())


async def test_a_dataset_is_kept_while_a_job_uses_it(books: Books) -> None:
    source = await books.uploaded()
    await books.datasets.create("digits", source.name, [], Shares())
    made = await books.jobs.create(replace(EVALUATION, dataset="datasets/digits"))
    with pytest.raises(ConflictError, match=made.job.job_id):
        await books.datasets.delete("digits")
    await books.jobs.cancel(made.name)
    await books.datasets.delete("digits")
    with pytest.raises(MissingError):
        await books.datasets.get("digits")


async def test_a_job_of_what_is_not_there_is_refused(books: Books) -> None:
    with pytest.raises(MissingError) as refused:
        await books.jobs.create(a_conversion())
    assert refused.value.reason == "SOURCE_MISSING"
    with pytest.raises(MissingError) as refused:
        await books.jobs.create(replace(EVALUATION, dataset="datasets/none"))
    assert refused.value.reason == "DATASET_MISSING"


async def test_jobs_are_bounded_listed_and_found_by_kind(books: Books) -> None:
    names = [(await books.jobs.create(spec)).name for spec in (EVALUATION, OPTIMIZATION, EVALUATION)]
    with pytest.raises(OverloadedError):
        await books.jobs.create(EVALUATION)
    page = await books.jobs.list(Kind.EVALUATION, page_request("all", 1, ""))
    rest = await books.jobs.list(Kind.EVALUATION, page_request("all", 5, page.next_page_token))
    assert [record.name for record in (*page.items, *rest.items)] == [names[2], names[0]]
    assert rest.next_page_token == ""
    with pytest.raises(MissingError):
        await books.jobs.get(names[1], Kind.EVALUATION)


async def test_a_log_can_be_followed_until_the_job_has_ended(books: Books) -> None:
    name = (await books.jobs.create(EVALUATION)).name
    page = await books.jobs.log_lines(name, page_request("log", 2, ""))
    assert page.items == ()
    async with books.store.writing(name) as tx:
        lines = [LogLine(log_time=books.clock.now(), epoch=1, text=text) for text in "abc"]
        await tx.log_lines.add(name, lines)
    texts = []
    for _ in range(3):
        page = await books.jobs.log_lines(name, page_request("log", 2, page.next_page_token))
        texts += [line.text for line in page.items]
    assert texts == ["a", "b", "c"]
    await books.jobs.cancel(name)
    assert (
        await books.jobs.log_lines(name, page_request("log", 2, page.next_page_token))
    ).next_page_token == ""


async def test_a_watcher_sees_the_end_and_one_too_many_is_refused(books: Books) -> None:
    name = (await books.jobs.create(EVALUATION)).name
    watching = books.jobs.watch(name)
    assert (await anext(watching)).state is State.QUEUED
    with pytest.raises(OverloadedError):
        await anext(books.jobs.watch(name))
    await books.jobs.cancel(name)
    assert [job.state async for job in watching] == [State.CANCELLED]


async def test_only_a_job_that_has_ended_can_be_deleted(books: Books) -> None:
    name = (await books.jobs.create(EVALUATION)).name
    with pytest.raises(ConflictError) as refused:
        await books.jobs.delete(name)
    assert refused.value.reason == "JOB_NOT_ENDED"
    await books.jobs.cancel(name)
    await books.jobs.delete(name)
    with pytest.raises(MissingError):
        await books.jobs.get(name)


async def test_a_job_that_ended_is_forgotten_after_its_time(books: Books) -> None:
    ended, waiting = [(await books.jobs.create(EVALUATION)).name for _ in range(2)]
    await books.jobs.cancel(ended)
    books.clock.advance(timedelta(days=91).total_seconds())
    await books.sweeper.sweep()
    with pytest.raises(MissingError):
        await books.jobs.get(ended)
    assert (await books.jobs.get(waiting)).job.state is State.QUEUED


async def test_sources_that_nothing_needs_are_deleted_after_their_time(books: Books) -> None:
    for text in ("of a job", "of a dataset", "of nothing"):
        await books.uploaded(text)
    sources = [await books.uploaded(text) for text in ("of a job", "of a dataset", "of nothing")]
    await books.jobs.create(a_conversion(source=sources[0].name))
    await books.datasets.create("digits", sources[1].name, [], Shares())
    books.clock.advance(timedelta(days=8).total_seconds())
    await books.sweeper.sweep()
    async with books.store.reading() as tx:
        kept = [await tx.sources.find(source.digest) for source in sources]
    assert [source is not None for source in kept] == [True, True, False]
    left = {key.split("/")[1] for key in await books.blob_keys()}
    async with books.store.reading() as tx:
        assert await tx.blob_owners.known(sorted(left)) == left


async def test_blobs_that_an_upload_left_are_deleted(books: Books, tmp_path: Path) -> None:
    path = tmp_path / "left"
    path.write_bytes(b"x")
    await books.blobs.put_file(f"{BLOBS}s-nobody/0", path, sha256=digest("x"))
    await books.uploaded()
    await books.sweeper.sweep()
    assert len(await books.blob_keys()) == 1
