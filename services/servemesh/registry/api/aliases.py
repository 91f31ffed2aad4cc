"""Aliases on the wire: message in, one call, message out."""

from __future__ import annotations

from typing import Any

from servemesh import names
from servemesh.api.registry.v1 import registry_pb2 as pb
from servemesh.registry.api.messages import to_alias, to_alias_move
from servemesh.registry.api.requests import moment_of, version_id_of
from servemesh.registry.service.aliases import AliasBook
from servemesh.requests import page_of, request_key

Context = Any


class AliasesApi:
    """The part of RegistryService that moves Aliases; the servicer inherits from it."""

    def __init__(self, aliases: AliasBook) -> None:
        self._aliases = aliases

    async def GetAlias(self, request: pb.GetAliasRequest, context: Context) -> pb.GetAliasResponse:
        """Return an Alias, now or as of a time."""
        as_of_time = moment_of(request, "as_of_time")
        alias = await self._aliases.get(*names.alias_ids(request.name), as_of_time)
        return pb.GetAliasResponse(alias=to_alias(alias))

    async def ListAliases(self, request: pb.ListAliasesRequest, context: Context) -> pb.ListAliasesResponse:
        """List Aliases."""
        model_id = names.model_id(request.parent)
        page = await self._aliases.list(model_id, page_of(request, request.parent))
        return pb.ListAliasesResponse(
            aliases=[to_alias(alias) for alias in page.items], next_page_token=page.next_page_token
        )

    async def SetAlias(self, request: pb.SetAliasRequest, context: Context) -> pb.SetAliasResponse:
        """Point an Alias to a Version."""
        model_id, alias_id = names.alias_ids(request.alias.name)
        version_id = version_id_of(request.alias.version, model_id, "alias.version")
        alias = await self._aliases.set(
            model_id, alias_id, version_id, request.alias.etag, request_key(request)
        )
        return pb.SetAliasResponse(alias=to_alias(alias))

    async def DeleteAlias(self, request: pb.DeleteAliasRequest, context: Context) -> pb.DeleteAliasResponse:
        """Delete an Alias."""
        await self._aliases.delete(*names.alias_ids(request.name), request.etag)
        return pb.DeleteAliasResponse()

    async def ListAliasMoves(
        self, request: pb.ListAliasMovesRequest, context: Context
    ) -> pb.ListAliasMovesResponse:
        """List where an Alias pointed and when."""
        page = await self._aliases.list_moves(
            *names.alias_ids(request.parent), page_of(request, request.parent)
        )
        return pb.ListAliasMovesResponse(
            alias_moves=[to_alias_move(move) for move in page.items], next_page_token=page.next_page_token
        )
