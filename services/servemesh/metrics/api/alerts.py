"""Alerts, rules and silences on the wire: message in, one call, message out."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from servemesh.api.metrics.v1 import metrics_pb2 as pb
from servemesh.errors import InvalidError
from servemesh.metrics.domain.alerting import words
from servemesh.metrics.domain.alerting.rules import Rule
from servemesh.metrics.domain.alerting.silences import Silence
from servemesh.metrics.service.alert_book import AlertBook, SeenAlert
from servemesh.paging import page_request
from servemesh.requests import request_key

Context = Any
PAGE_SIZE = 100
SILENCES = "silences/"


class AlertsApi:
    """The part of MetricsService that is about alerts."""

    def __init__(self, book: AlertBook) -> None:
        self._book = book

    async def ListAlertRules(
        self, request: pb.ListAlertRulesRequest, context: Context
    ) -> pb.ListAlertRulesResponse:
        """List the rules."""
        return pb.ListAlertRulesResponse(rules=[_to_rule(rule) for rule in self._book.rules])

    async def ListAlerts(self, request: pb.ListAlertsRequest, context: Context) -> pb.ListAlertsResponse:
        """List alerts."""
        scope = f"{request.DESCRIPTOR.full_name} {request.include_resolved}"
        asked = page_request(scope, request.page_size or PAGE_SIZE, request.page_token)
        page = await self._book.list(asked, with_resolved=request.include_resolved)
        alerts = [_to_alert(each) for each in page.items]
        return pb.ListAlertsResponse(alerts=alerts, next_page_token=page.next_page_token)

    async def WatchAlerts(
        self, request: pb.WatchAlertsRequest, context: Context
    ) -> AsyncIterator[pb.WatchAlertsResponse]:
        """Send alerts now and after each change."""
        async with aclosing(self._book.watch()) as changes:
            async for each in changes:
                yield pb.WatchAlertsResponse(alert=_to_alert(each))

    async def ListSilences(
        self, request: pb.ListSilencesRequest, context: Context
    ) -> pb.ListSilencesResponse:
        """List silences."""
        return pb.ListSilencesResponse(silences=[_to_silence(each) for each in await self._book.silences()])

    async def CreateSilence(
        self, request: pb.CreateSilenceRequest, context: Context
    ) -> pb.CreateSilenceResponse:
        """Create a silence."""
        wish = request.silence
        filters = {each.label: tuple(each.values) for each in wish.filters}
        end_s = wish.end_time.ToDatetime(UTC).timestamp()
        made = await self._book.create_silence(filters, end_s, wish.comment, request_key(request))
        return pb.CreateSilenceResponse(silence=_to_silence(made))

    async def DeleteSilence(
        self, request: pb.DeleteSilenceRequest, context: Context
    ) -> pb.DeleteSilenceResponse:
        """End a silence."""
        await self._book.end_silence(_silence_id(request.name))
        return pb.DeleteSilenceResponse()


def _silence_id(name: str) -> str:
    silence_id = name.removeprefix(SILENCES)
    if not name.startswith(SILENCES) or not silence_id.isalnum() or len(silence_id) > 63:
        raise InvalidError(
            f"name is {name[:200]!r}, expected silences/{{silence}}",
            reason="NAME_MALFORMED",
            field="name",
            name=name[:200],
            expected="silences/{silence}",
        )
    return silence_id


def _to_rule(rule: Rule) -> pb.AlertRule:
    return pb.AlertRule(
        rule=rule.rule_id,
        summary=rule.summary,
        severity=_severity(rule.severity),
        kind=rule.condition.kind,
        condition=words.condition(rule),
        runbook=f"docs/runbooks/{rule.runbook}",
    )


def _to_alert(seen: SeenAlert) -> pb.Alert:
    alert = seen.alert
    return pb.Alert(
        name=alert.name,
        rule=alert.rule_id,
        labels=dict(alert.labels),
        state=pb.AlertState.Value(f"ALERT_STATE_{alert.state.upper()}"),
        severity=_severity(alert.severity),
        text=alert.text,
        value=alert.value,
        start_time=_to_time(alert.start_s),
        fire_time=_to_time(alert.fire_s),
        resolve_time=_to_time(alert.resolve_s),
        silenced=seen.silenced,
        runbook=f"docs/runbooks/{alert.runbook}",
    )


def _to_silence(silence: Silence) -> pb.Silence:
    return pb.Silence(
        name=silence.name,
        filters=[
            pb.LabelFilter(label=label, values=values) for label, values in sorted(silence.filters.items())
        ],
        end_time=_to_time(silence.end_s),
        comment=silence.comment,
        create_time=_to_time(silence.create_s),
    )


def _severity(severity: str) -> Any:
    return pb.Severity.Value(f"SEVERITY_{severity.upper()}")


def _to_time(moment_s: float | None) -> Timestamp | None:
    if moment_s is None:
        return None
    made = Timestamp()
    made.FromDatetime(datetime.fromtimestamp(moment_s, UTC))
    return made
