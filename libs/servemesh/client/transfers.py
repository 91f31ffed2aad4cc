"""Operations that move the bytes of a model: push and pull, both resumed where they broke off."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from servemesh import names
from servemesh.api.registry.v1 import registry_pb2 as pb
from servemesh.client import models, parsing, results
from servemesh.client.steps import Call, Operation, Pause, Receive, Send, Work
from servemesh.errors import (
    ConflictError,
    DamagedError,
    InvalidError,
    MissingError,
    ServemeshError,
    UnavailableError,
)

CHUNK_BYTES = 1024 * 1024
BREAKS_MAX = 20
"""A transfer that breaks as often as this without a byte of progress is given up."""
BREAK_PAUSE_S = 0.5
COMMITS_MAX = 4
"""A transfer that is complete here and not there as often as this is given up."""
_NAMESPACE = uuid.UUID("6f1d0f0e-6b0c-5a77-9a55-0a6f1c1f2b11")

Progress = Callable[[int, int], None]
"""Told the bytes moved so far and the bytes in all."""


def push(
    model_id: str,
    path: Path,
    labels: Mapping[str, str],
    on_progress: Progress,
    *,
    source_versions: Sequence[str] = (),
    request_id: str = "",
) -> Operation[results.Version]:
    """Upload a file or a folder and have it published as the next Version.

    With a request_id (a UUID) of the caller it becomes one Version, however often it is pushed.
    """
    folder, files = yield Work(work=partial(examined, path))
    upload = yield from _opened(
        model_id, pb.Upload(files=files, labels=labels, source_versions=source_versions), request_id
    )
    commit_id = request_id or str(uuid.uuid5(_NAMESPACE, upload.name))
    commit = pb.CommitUploadRequest(name=upload.name, request_id=commit_id)
    for commits_left in reversed(range(COMMITS_MAX)):
        yield from _all_sent(upload, folder, files, on_progress)
        try:
            answer = yield Call(request=commit)
            break
        except InvalidError:
            yield from _withdrawn(model_id, upload.name)
            raise
        except ConflictError as error:  # another registry has taken over since, to which the bytes are news
            if error.reason != "UPLOAD_INCOMPLETE" or not commits_left:
                raise
    return parsing.version(answer.model_version, tuple(answer.warnings))


def pull(
    model_id: str, version: str | int, folder: Path, on_progress: Progress
) -> Operation[results.Version]:
    """Download the files of a Version into `folder`, each verified."""
    found = yield from models.version_of(model_id, version)
    done = 0
    for file in found.files:
        yield from _fetched(found, file, folder, partial(_shifted, on_progress, done, found.size_bytes))
        done += file.size_bytes
    on_progress(found.size_bytes, found.size_bytes)
    return found


def examined(path: Path) -> tuple[Path, list[pb.ArtifactFile]]:
    """Return the folder that holds the files, and each file with size and digest."""
    if path.is_file():
        folder, paths = path.parent, [path]
    elif path.is_dir():
        folder, paths = path, sorted(file for file in path.rglob("*") if file.is_file())
    else:
        raise InvalidError(
            f"{path} is neither a file nor a folder", reason="PATH_MISSING", field="path", got=path
        )
    if not paths:
        raise InvalidError(f"{path} holds no files", reason="PATH_EMPTY", field="path", got=path)
    return folder, [
        pb.ArtifactFile(
            path=file.relative_to(folder).as_posix(), size_bytes=file.stat().st_size, sha256=_digest(file)
        )
        for file in paths
    ]


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _opened(model_id: str, wish: pb.Upload, request_id: str) -> Operation[pb.Upload]:
    """Return the upload of these very files that broke off before, or a new one.

    One that has become a Version already is as good where the caller has a request_id, and of no use otherwise.
    """
    content = [[file.path, file.sha256] for file in wish.files]
    key = json.dumps([model_id, content, sorted(wish.labels.items()), *wish.source_versions])
    for open_id in (uuid.uuid5(_NAMESPACE, request_id or key), uuid.uuid4()):
        request = pb.CreateUploadRequest(parent=names.model(model_id), upload=wish, request_id=str(open_id))
        try:
            upload = (yield Call(request=request)).upload
            found: pb.Upload = (yield Call(request=pb.GetUploadRequest(name=upload.name))).upload
            is_whole = list(found.received_bytes) == [file.size_bytes for file in found.files]
            if is_whole and not request_id:
                yield from _touched(found)
        except (MissingError, ConflictError) as error:
            if error.reason == "VERSION_MISSING":  # a source version
                raise
            continue  # that one has become a Version already, or has expired
        return found
    raise UnavailableError(
        f"the upload of {model_id} was deleted as soon as it was opened; try again", reason="UPLOAD_GONE"
    )


def _withdrawn(model_id: str, upload: str) -> Operation[None]:
    """Delete an upload that was refused, and the Model if nothing but the upload had brought it about."""
    try:
        yield Call(request=pb.DeleteUploadRequest(name=upload))
        model: pb.Model = (yield Call(request=pb.GetModelRequest(name=names.model(model_id)))).model
        is_used = model.latest_version_id or model.description or model.labels
        if not is_used and model.update_time == model.create_time:
            yield Call(request=pb.DeleteModelRequest(name=model.name, etag=model.etag))
    except ServemeshError:
        return  # whoever is told of the refusal need not be told that it left a trace


def _touched(upload: pb.Upload) -> Operation[None]:
    """Add nothing to a complete upload; ConflictError if it has become a Version."""
    file = upload.files[0]
    request = pb.WriteUploadFileRequest(name=upload.name, path=file.path, offset_bytes=file.size_bytes)
    yield Send(request_type=pb.WriteUploadFileRequest, requests=lambda: iter((request,)))


def _all_sent(
    upload: pb.Upload, folder: Path, files: Sequence[pb.ArtifactFile], on_progress: Progress
) -> Operation[None]:
    total = sum(file.size_bytes for file in files)
    received = dict(zip((file.path for file in upload.files), upload.received_bytes, strict=False))
    for file in files:
        others = sum(size for name, size in received.items() if name != file.path)
        yield from _sent(upload.name, folder / file.path, file, others, total, on_progress)
        received[file.path] = file.size_bytes
    on_progress(total, total)


def _sent(
    upload: str, path: Path, file: pb.ArtifactFile, others: int, total: int, on_progress: Progress
) -> Operation[None]:
    """Send one file from where the registry has it, again and again until all of it is there."""
    breaks, best = 0, -1
    while True:
        state = (yield Call(request=pb.GetUploadRequest(name=upload))).upload
        have = _received(state, file.path)
        if have > best:
            breaks, best = 0, have
        if have >= file.size_bytes:
            return
        report = partial(_shifted, on_progress, others, total)
        requests = partial(_write_requests, upload, path, file.path, have, report)
        try:
            yield Send(request_type=pb.WriteUploadFileRequest, requests=requests)
        except (UnavailableError, ConflictError):  # broken off, or a former stream is still being taken in
            breaks += 1
            if breaks >= BREAKS_MAX:
                raise
            yield Pause(pause_s=BREAK_PAUSE_S)


def _received(upload: pb.Upload, path: str) -> int:
    paths = [file.path for file in upload.files]
    index = paths.index(path)
    return int(upload.received_bytes[index]) if index < len(upload.received_bytes) else 0


def _write_requests(
    upload: str, path: Path, name: str, offset: int, report: Callable[[int], None]
) -> Iterator[Any]:
    with path.open("rb") as file:
        file.seek(offset)
        yield pb.WriteUploadFileRequest(name=upload, path=name, offset_bytes=offset)
        while data := file.read(CHUNK_BYTES):
            yield pb.WriteUploadFileRequest(data=data)
            offset += len(data)
            report(offset)


def _fetched(
    version: results.Version, file: results.File, folder: Path, report: Callable[[int], None]
) -> Operation[None]:
    target = _inside(folder, file.path)
    part = target.with_name(f".{target.name}.part")
    yield Work(work=lambda: target.parent.mkdir(parents=True, exist_ok=True))
    part.touch()
    breaks = 0
    while part.stat().st_size < file.size_bytes:
        have = part.stat().st_size
        request = pb.ReadModelVersionFileRequest(
            name=names.version(version.model, version.version), path=file.path, offset_bytes=have
        )
        with part.open("ab") as output:
            try:
                yield Receive(request=request, take=partial(_append, output, report))
            except UnavailableError:
                breaks = 0 if part.stat().st_size > have else breaks + 1
                if breaks >= BREAKS_MAX:
                    raise
                yield Pause(pause_s=BREAK_PAUSE_S)
    digest = yield Work(work=partial(_digest, part))
    if digest != file.sha256:
        part.unlink()
        raise DamagedError(
            f"{file.path} arrived with digest {digest}, expected {file.sha256}; pull it again",
            reason="DIGEST_WRONG",
            path=file.path,
        )
    part.replace(target)


def _inside(folder: Path, path: str) -> Path:
    target = (folder / path).resolve()
    if not target.is_relative_to(folder.resolve()) or ".." in Path(path).parts:
        raise DamagedError(f"the manifest names {path!r}, outside the folder", reason="PATH_OUTSIDE")
    return target


def _append(output: Any, report: Callable[[int], None], response: pb.ReadModelVersionFileResponse) -> None:
    output.write(response.data)
    report(output.tell())


def _shifted(on_progress: Progress, before: int, total: int, moved: int) -> None:
    on_progress(before + moved, total)
