"""Models and their Versions: reading, creating, changing and deleting them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from servemesh import names
from servemesh.changes import Changes
from servemesh.errors import ConflictError, ExistsError
from servemesh.paging import Page, PageRequest
from servemesh.registry.domain.aliases import AliasMove, next_move_time
from servemesh.registry.domain.events import Kind
from servemesh.registry.domain.limits import Limits, check_room
from servemesh.registry.domain.models import Model, ModelVersion
from servemesh.registry.service import lookup
from servemesh.registry.service.ports import Clock, Store, Transaction
from servemesh.registry.service.recording import answered, check_etag, record, request_lock
from servemesh.requests import RequestKey


class Catalog:
    """What is known of Models."""

    def __init__(self, store: Store, clock: Clock, changes: Changes, limits: Limits) -> None:
        self._store = store
        self._clock = clock
        self._changes = changes
        self._limits = limits

    async def get_model(self, model_id: str) -> Model:
        """The Model; MissingError if there is none."""
        async with self._store.reading() as tx:
            return await lookup.model(tx, model_id)

    async def list_models(self, page: PageRequest) -> Page[Model]:
        """Models in order of id."""
        async with self._store.reading() as tx:
            models = await tx.models.list(after=page.after, limit=page.fetch)
        return page.page(models, lambda model: model.model_id)

    async def create_model(
        self, model_id: str, description: str, labels: Mapping[str, str], request: RequestKey | None = None
    ) -> Model:
        """A new Model; ExistsError if there is one of that id."""
        name = names.model(model_id)
        self._limits.check_description(description)
        self._limits.check_labels(labels, "model.labels")
        async with self._store.writing(name, "models", *request_lock(request)) as tx:

            async def work() -> Model:
                if await tx.models.find(model_id) is not None:
                    raise ExistsError(f"{name} exists already", reason="MODEL_EXISTS", name=name)
                return await added_model(tx, model_id, description, labels, self._clock, self._limits)

            model = await answered(tx, request, Model, self._clock.now(), work)
        self._changes.notify()
        return model

    async def update_model(
        self, model_id: str, etag: str, description: str | None, labels: Mapping[str, str] | None
    ) -> Model:
        """Change what is not None; StaleError if the etag is not empty and not the current one."""
        name = names.model(model_id)
        self._limits.check_description(description or "")
        self._limits.check_labels(labels or {}, "model.labels")
        async with self._store.writing(name) as tx:
            model = await lookup.model(tx, model_id)
            check_etag(name, etag, model.etag)
            now = self._clock.now()
            revision = await record(tx, Kind.MODEL_UPDATED, name, model_id, now)
            model = replace(
                model,
                description=model.description if description is None else description,
                labels=model.labels if labels is None else dict(labels),
                update_time=now,
                revision=revision,
            )
            await tx.models.put(model)
        self._changes.notify()
        return model

    async def delete_model(self, model_id: str, etag: str) -> None:
        """Delete it with Versions and Aliases; ConflictError while it is deployed."""
        name = names.model(model_id)
        async with self._store.writing(name) as tx:
            model = await lookup.model(tx, model_id)
            check_etag(name, etag, model.etag)
            if await tx.deployments.find(model_id) is not None:
                raise _in_use(name, names.deployment(model_id))
            now = self._clock.now()
            for alias_id in (await tx.aliases.targets([model_id]))[model_id]:
                await removed_alias(tx, model_id, alias_id, self._clock)
            await tx.models.delete(model_id)
            await record(tx, Kind.MODEL_DELETED, name, model_id, now)
        self._changes.notify()

    async def get_version(self, model_id: str, version_id: int) -> ModelVersion:
        """The Version; MissingError if there is none."""
        async with self._store.reading() as tx:
            return await lookup.version(tx, model_id, version_id)

    async def get_named_version(self, name: str) -> ModelVersion:
        """The Version of that name, or the one that the Alias of that name points to now."""
        if not names.is_alias(name):
            return await self.get_version(*names.version_ids(name))
        model_id, alias_id = names.alias_ids(name)
        async with self._store.reading() as tx:
            alias = await lookup.alias(tx, model_id, alias_id)
            return await lookup.version(tx, model_id, alias.version_id)

    async def list_versions(self, model_id: str, page: PageRequest) -> Page[ModelVersion]:
        """Versions of the Model, newest first."""
        async with self._store.reading() as tx:
            await lookup.model(tx, model_id)
            versions = await tx.models.list_versions(model_id, before=page.after_number, limit=page.fetch)
        return page.page(versions, lambda version: str(version.version_id))

    async def delete_version(self, model_id: str, version_id: int) -> None:
        """Delete it; ConflictError while an Alias or the Deployment points to it."""
        name = names.version(model_id, version_id)
        async with self._store.writing(names.model(model_id)) as tx:
            await lookup.version(tx, model_id, version_id)
            for alias_id, target in (await tx.aliases.targets([model_id]))[model_id].items():
                if target == version_id:
                    raise _in_use(name, names.alias(model_id, alias_id))
            deployment = await tx.deployments.find(model_id)
            if deployment is not None and deployment.points_to_version(model_id, version_id):
                raise _in_use(name, deployment.name)
            await tx.fleet.delete_demands([(model_id, version_id)])
            await tx.models.delete_version(model_id, version_id)
            newest = await tx.models.list_versions(model_id, before=0, limit=1)
            model = await lookup.model(tx, model_id)
            latest_version_id = newest[0].version_id if newest else 0
            await tx.models.put(replace(model, latest_version_id=latest_version_id))
            await record(tx, Kind.VERSION_DELETED, name, model_id, self._clock.now())
        self._changes.notify()


async def added_model(
    tx: Transaction,
    model_id: str,
    description: str,
    labels: Mapping[str, str],
    clock: Clock,
    limits: Limits,
) -> Model:
    """Insert a new Model with its event; OverloadedError if there are too many."""
    check_room(await tx.models.count(), limits.models_max, "models")
    now = clock.now()
    model = Model(
        model_id=model_id,
        description=description,
        labels=dict(labels),
        create_time=now,
        update_time=now,
        revision=await record(tx, Kind.MODEL_CREATED, names.model(model_id), model_id, now),
    )
    await tx.models.put(model)
    return model


async def removed_alias(tx: Transaction, model_id: str, alias_id: str, clock: Clock) -> None:
    """Delete an Alias with its event; the history says when."""
    last = await tx.aliases.find_last_move(model_id, alias_id)
    now = next_move_time(clock.now(), last)
    name = names.alias(model_id, alias_id)
    revision = await record(tx, Kind.ALIAS_DELETED, name, model_id, now)
    await tx.aliases.delete(model_id, alias_id)
    await tx.aliases.add_move(
        AliasMove(model_id=model_id, alias_id=alias_id, revision=revision, version_id=None, move_time=now)
    )


def _in_use(name: str, user: str) -> ConflictError:
    return ConflictError(
        f"{name} is in use by {user}; change or delete that first", reason="IN_USE", name=name, used_by=user
    )
