"""Delivers to a webhook: one POST, no redirects, a short answer; a failure is for the outbox to try again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass

import urllib3

from servemesh.errors import UnavailableError
from servemesh.lifecycle import Clock
from servemesh.metrics.adapters import webhook_messages
from servemesh.metrics.domain.alerting.grouping import Delivery


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookSettings:
    """Where it is, what it is signed with, and how long to wait for its answer."""

    url: str
    secret: str
    timeout_s: float = 10.0
    threads_max: int = 4


class WebhookSender:
    """Satisfies delivering.Channel. Taken is what was answered with a status of 200 to 299."""

    def __init__(
        self, pool: urllib3.PoolManager, threads: ThreadPoolExecutor, settings: WebhookSettings, clock: Clock
    ) -> None:
        self._pool = pool
        self._threads = threads
        self._settings = settings
        self._clock = clock

    @classmethod
    @asynccontextmanager
    async def running(cls, settings: WebhookSettings, clock: Clock) -> AsyncIterator[WebhookSender]:
        """Keep connections and threads for the length of the block."""
        threads = ThreadPoolExecutor(settings.threads_max, thread_name_prefix="webhook")
        pool = urllib3.PoolManager(
            maxsize=settings.threads_max,
            timeout=urllib3.Timeout(total=settings.timeout_s),
            retries=False,
        )
        try:
            yield cls(pool, threads, settings, clock)
        finally:
            pool.clear()
            await asyncio.to_thread(threads.shutdown, cancel_futures=True)

    async def deliver(self, delivery: Delivery) -> None:
        """UnavailableError unless the receiver took it."""
        message = webhook_messages.body(delivery)
        headers = webhook_messages.headers(
            delivery.delivery_id, message, self._settings.secret, self._clock.now().timestamp()
        )
        loop = asyncio.get_running_loop()
        status = await loop.run_in_executor(self._threads, self._post, message, headers)
        if not 200 <= status < 300:
            raise UnavailableError(
                f"the webhook answered with status {status}", reason="WEBHOOK_REFUSED", status=status
            )

    def _post(self, message: bytes, headers: dict[str, str]) -> int:
        try:
            answer = self._pool.request(
                "POST",
                self._settings.url,
                body=message,
                headers=headers,
                redirect=False,
                preload_content=False,
            )
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            raise UnavailableError("the webhook does not answer", reason="WEBHOOK_AWAY") from error
        answer.close()  # what it says does not matter, and may be without end
        return int(answer.status)
