"""Aliases: moving them, and asking where they pointed."""

from __future__ import annotations

from datetime import datetime

from servemesh import names
from servemesh.changes import Changes
from servemesh.errors import ConflictError, StaleError
from servemesh.paging import Page, PageRequest
from servemesh.registry.domain.aliases import NEW, Alias, AliasMove, next_move_time
from servemesh.registry.domain.events import Kind
from servemesh.registry.domain.limits import Limits, check_room
from servemesh.registry.service import lookup
from servemesh.registry.service.catalog import removed_alias
from servemesh.registry.service.ports import Clock, Store, Transaction
from servemesh.registry.service.recording import answered, check_etag, record, request_lock
from servemesh.requests import RequestKey


class AliasBook:
    """Which name points to which Version, now and before."""

    def __init__(self, store: Store, clock: Clock, changes: Changes, limits: Limits) -> None:
        self._store = store
        self._clock = clock
        self._changes = changes
        self._limits = limits

    async def get(self, model_id: str, alias_id: str, as_of_time: datetime | None = None) -> Alias:
        """The Alias now, or as it stood then with revision 0; MissingError if it did not exist."""
        async with self._store.reading() as tx:
            if as_of_time is None:
                return await lookup.alias(tx, model_id, alias_id)
            move = await tx.aliases.find_last_move(model_id, alias_id, as_of_time=as_of_time)
        if move is None or move.version_id is None:
            raise lookup.missing("ALIAS_MISSING", names.alias(model_id, alias_id))
        return Alias(
            model_id=model_id,
            alias_id=alias_id,
            version_id=move.version_id,
            update_time=move.move_time,
            revision=0,
        )

    async def list(self, model_id: str, page: PageRequest) -> Page[Alias]:
        """Aliases of the Model in order of id."""
        async with self._store.reading() as tx:
            await lookup.model(tx, model_id)
            aliases = await tx.aliases.list(model_id, after=page.after, limit=page.fetch)
        return page.page(aliases, lambda alias: alias.alias_id)

    async def set(
        self, model_id: str, alias_id: str, version_id: int, etag: str, request: RequestKey | None = None
    ) -> Alias:
        """Point it to the Version. `etag` "new" means only if there is none yet; StaleError if it does not fit."""
        async with self._store.writing(names.model(model_id), *request_lock(request)) as tx:

            async def work() -> Alias:
                await lookup.version(tx, model_id, version_id)
                return await self._moved(tx, model_id, alias_id, version_id, etag)

            alias = await answered(tx, request, Alias, self._clock.now(), work)
        self._changes.notify()
        return alias

    async def delete(self, model_id: str, alias_id: str, etag: str) -> None:
        """Delete it; its history stays. ConflictError while the Deployment follows it."""
        name = names.alias(model_id, alias_id)
        async with self._store.writing(names.model(model_id)) as tx:
            alias = await lookup.alias(tx, model_id, alias_id)
            check_etag(name, etag, alias.etag)
            deployment = await tx.deployments.find(model_id)
            if deployment is not None and deployment.points_to_alias(name):
                raise ConflictError(
                    f"{name} is in use by {deployment.name}; change that first",
                    reason="IN_USE",
                    name=name,
                    used_by=deployment.name,
                )
            await removed_alias(tx, model_id, alias_id, self._clock)
        self._changes.notify()

    async def list_moves(self, model_id: str, alias_id: str, page: PageRequest) -> Page[AliasMove]:
        """Where it pointed and when, newest first; MissingError if it never existed."""
        async with self._store.reading() as tx:
            moves = await tx.aliases.list_moves(
                model_id, alias_id, before=page.after_number, limit=page.fetch
            )
        if not moves and not page.after:
            raise lookup.missing("ALIAS_MISSING", names.alias(model_id, alias_id))
        return page.page(moves, lambda move: str(move.revision))

    async def _moved(
        self, tx: Transaction, model_id: str, alias_id: str, version_id: int, etag: str
    ) -> Alias:
        name = names.alias(model_id, alias_id)
        current = await tx.aliases.find(model_id, alias_id)
        _check_expected(name, etag, current)
        if current is None:
            check_room(await tx.aliases.count(model_id), self._limits.aliases_max, "aliases of the model")
        last = await tx.aliases.find_last_move(model_id, alias_id)
        now = next_move_time(self._clock.now(), last)
        version = names.version(model_id, version_id)
        revision = await record(tx, Kind.ALIAS_MOVED, name, model_id, now, version=version)
        alias = Alias(
            model_id=model_id,
            alias_id=alias_id,
            version_id=version_id,
            update_time=now,
            revision=revision,
        )
        move = AliasMove(
            model_id=model_id, alias_id=alias_id, revision=revision, version_id=version_id, move_time=now
        )
        await tx.aliases.put(alias)
        await tx.aliases.add_move(move)
        return alias


def _check_expected(name: str, etag: str, current: Alias | None) -> None:
    if etag == NEW and current is not None:
        raise StaleError(f"{name} exists already", name=name, etag=etag, current=current.etag)
    if etag != NEW:
        check_etag(name, etag, current.etag if current is not None else "none")
