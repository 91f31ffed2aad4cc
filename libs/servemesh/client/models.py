"""Operations on models, versions and aliases."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeVar

from servemesh import names
from servemesh.api.registry.v1 import registry_pb2 as pb
from servemesh.client import parsing, results
from servemesh.client.steps import Call, Operation

PAGE_SIZE = 200
T = TypeVar("T")


def models() -> Operation[list[results.Model]]:
    """Return every Model, by name."""
    return (yield from pages(lambda: pb.ListModelsRequest(page_size=PAGE_SIZE), "models", parsing.model))


def model(model_id: str) -> Operation[results.Model]:
    """Return one Model."""
    answer = yield Call(request=pb.GetModelRequest(name=names.model(model_id)))
    return parsing.model(answer.model)


def remove(model_id: str, version: str | int = "") -> Operation[None]:
    """Delete a Model with everything of it, or one Version."""
    if not version:
        yield Call(request=pb.DeleteModelRequest(name=names.model(model_id)))
        return
    found = yield from version_of(model_id, version)
    yield Call(request=pb.DeleteModelVersionRequest(name=names.version(model_id, found.version)))


def versions(model_id: str) -> Operation[list[results.Version]]:
    """Return the Versions of a Model, newest first."""
    parent = names.model(model_id)
    return (
        yield from pages(
            lambda: pb.ListModelVersionsRequest(parent=parent, page_size=PAGE_SIZE),
            "model_versions",
            parsing.version,
        )
    )


def version_of(model_id: str, version: str | int = "") -> Operation[results.Version]:
    """Return one Version: by id, by alias, or the newest."""
    if not version:
        version = (yield from model(model_id)).latest_version
    answer = yield Call(request=pb.GetModelVersionRequest(name=target_name(model_id, version)))
    return parsing.version(answer.model_version)


def aliases(model_id: str) -> Operation[list[results.Alias]]:
    """Return the Aliases of a Model, by name."""
    parent = names.model(model_id)
    return (
        yield from pages(
            lambda: pb.ListAliasesRequest(parent=parent, page_size=PAGE_SIZE), "aliases", parsing.alias
        )
    )


def alias(model_id: str, alias_id: str, as_of: datetime | None) -> Operation[results.Alias]:
    """Return an Alias, as it stands or as it stood at a time."""
    request = pb.GetAliasRequest(name=names.alias(model_id, alias_id))
    if as_of is not None:
        request.as_of_time.FromDatetime(as_of)
    return parsing.alias((yield Call(request=request)).alias)


def set_alias(model_id: str, alias_id: str, version: int) -> Operation[results.Alias]:
    """Point an Alias to a Version."""
    request = pb.SetAliasRequest(
        alias=pb.Alias(name=names.alias(model_id, alias_id), version=names.version(model_id, version)),
        request_id=str(uuid.uuid4()),
    )
    return parsing.alias((yield Call(request=request)).alias)


def remove_alias(model_id: str, alias_id: str) -> Operation[None]:
    """Delete an Alias; its history stays."""
    yield Call(request=pb.DeleteAliasRequest(name=names.alias(model_id, alias_id)))


def alias_history(model_id: str, alias_id: str) -> Operation[list[results.AliasMove]]:
    """Return where an Alias pointed and when, newest first."""
    parent = names.alias(model_id, alias_id)
    return (
        yield from pages(
            lambda: pb.ListAliasMovesRequest(parent=parent, page_size=PAGE_SIZE),
            "alias_moves",
            parsing.alias_move,
        )
    )


def target_name(model_id: str, version: str | int) -> str:
    """Return the resource name of a version id or of an alias."""
    text = str(version)
    if names.is_version_id(text):
        return names.version(model_id, int(text))
    return names.alias(model_id, text)


def pages(request: Callable[[], Any], field: str, parse: Callable[[Any], T]) -> Operation[list[T]]:
    found: list[T] = []
    token = ""
    while True:
        message = request()
        message.page_token = token
        answer = yield Call(request=message)
        found.extend(parse(item) for item in getattr(answer, field))
        token = answer.next_page_token
        if not token:
            return found
