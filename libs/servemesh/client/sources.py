"""Operation that gives files to the optimizer."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from servemesh.api.optimizer.v1 import optimizer_pb2 as pb
from servemesh.client import job_parsing, jobs
from servemesh.client.steps import Operation, Pause, Send, Work
from servemesh.client.transfers import BREAK_PAUSE_S, BREAKS_MAX, CHUNK_BYTES, Progress, examined
from servemesh.errors import UnavailableError


def upload_source(path: Path, on_progress: Progress) -> Operation[jobs.Source]:
    """Upload a file or a folder; the same bytes give the same Source. A broken stream starts anew."""
    folder, files = yield Work(work=partial(examined, path))
    listed = [pb.SourceFile(path=file.path, size_bytes=file.size_bytes, sha256=file.sha256) for file in files]
    requests = partial(_requests, folder, pb.Source(files=listed), on_progress)
    breaks = 0
    while True:
        try:
            answer = yield Send(request_type=pb.UploadSourceRequest, requests=requests)
        except UnavailableError:
            breaks += 1
            if breaks >= BREAKS_MAX:
                raise
            yield Pause(pause_s=BREAK_PAUSE_S)
        else:
            return job_parsing.source(answer.source)


def _requests(folder: Path, source: pb.Source, on_progress: Progress) -> Iterator[Any]:
    total = sum(file.size_bytes for file in source.files)
    moved = 0
    yield pb.UploadSourceRequest(source=source)
    for file in source.files:
        with (folder / file.path).open("rb") as data:
            while chunk := data.read(CHUNK_BYTES):
                yield pb.UploadSourceRequest(path=file.path, data=chunk)
                moved += len(chunk)
                on_progress(moved, total)
