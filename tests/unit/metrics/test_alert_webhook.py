"""The webhook: what is sent, that anybody can verify it, and what counts as taken."""

from __future__ import annotations

import base64
import hmac
import json

import pytest

from servemesh.errors import UnavailableError
from servemesh.metrics.adapters.webhook_messages import signature
from servemesh.metrics.adapters.webhook_sender import WebhookSender, WebhookSettings
from servemesh.metrics.domain.alerting.alerts import Observation, advanced
from servemesh.metrics.domain.alerting.grouping import Delivery
from tests.harness.alert_hook import Hook
from tests.harness.registry import MovedClock
from tests.harness.simulated_alerts import a_rule, seen


def a_delivery(found: Observation | None = None) -> Delivery:
    alert = advanced(a_rule(for_s=0.0), None, found or seen("digits", 2.0), 1_700_000_000.0, gap_s=60.0)
    assert alert is not None
    return Delivery(delivery_id="d1", group=alert.group, create_s=1_700_000_001.0, alerts=(alert,))


def settings(hook: Hook) -> WebhookSettings:
    return WebhookSettings(url=hook.url, secret=hook.secret, timeout_s=5.0)


async def test_what_is_sent_says_everything_and_is_signed_for_anybody_to_verify():
    clock = MovedClock()
    with Hook() as hook:
        async with WebhookSender.running(settings(hook), clock) as sender:
            await sender.deliver(a_delivery())
    headers, body = hook.requests[0]
    assert headers["webhook-id"] == "d1"
    assert headers["webhook-timestamp"] == str(int(clock.now().timestamp()))
    signed = f"d1.{headers['webhook-timestamp']}.".encode() + body
    expected = hmac.digest(hook.secret.encode(), signed, "sha256")
    assert headers["webhook-signature"] == f"v1,{base64.b64encode(expected).decode()}"
    said = json.loads(body)
    assert said["type"] == "alerts.firing"
    alert = said["data"]["alerts"][0]
    assert (alert["rule"], alert["state"], alert["labels"]) == ("hot", "firing", {"model": "digits"})
    assert alert["runbook"] == "docs/runbooks/model-p99-high.md"
    assert alert["fire_time"] == "2023-11-14T22:13:20.000Z"


def test_the_signature_is_that_of_the_standard():
    """The example of https://github.com/standard-webhooks/standard-webhooks."""
    got = signature(
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "1614265330",
        b'{"test": 2432232314}',
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    )
    assert got == "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize("status", [301, 400, 500, 503])
async def test_any_other_answer_than_200_to_299_is_not_taken(status: int):
    with Hook() as hook:
        hook.status = status
        async with WebhookSender.running(settings(hook), MovedClock()) as sender:
            with pytest.raises(UnavailableError) as caught:
                await sender.deliver(a_delivery())
    assert caught.value.reason == "WEBHOOK_REFUSED"
    assert len(hook.requests) == 1


async def test_a_receiver_that_is_not_there_has_not_taken_it():
    async with WebhookSender.running(
        WebhookSettings(url="http://127.0.0.1:9/", secret=""), MovedClock()
    ) as sender:
        with pytest.raises(UnavailableError) as caught:
            await sender.deliver(a_delivery())
    assert caught.value.reason == "WEBHOOK_AWAY"
