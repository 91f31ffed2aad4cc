"""A receiver of alerts: verifies what it gets, as Standard Webhooks says, and answers as the test wants."""

from __future__ import annotations

import base64
import hmac
import json
import secrets
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from tests.harness.waiting import blocking_until


class Hook:
    """A receiver of alerts that verifies what it gets."""

    def __init__(self) -> None:
        self._secret = secrets.token_hex(16)
        self._lock = threading.Lock()
        self._bodies: dict[str, dict[str, Any]] = {}
        self.forged = 0
        self.repeated = 0
        self.status = 204
        self.requests: list[tuple[dict[str, str], bytes]] = []
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                hook.take(dict(self.headers.items()), body)
                self.send_response(hook.status)
                self.send_header("location", "http://127.0.0.1:9/elsewhere")
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self._server.server_port}/alerts"

    @property
    def secret(self) -> str:
        """What it verifies with."""
        return self._secret

    @property
    def settings(self) -> dict[str, str]:
        """What the metrics service is told of it."""
        return {
            "SERVEMESH_METRICS_WEBHOOK_URL": self.url,
            "SERVEMESH_METRICS_WEBHOOK_SECRET": self._secret,
        }

    def take(self, headers: dict[str, str], body: bytes) -> None:
        """Keep a delivery, once, if it is signed."""
        said = {name.lower(): value for name, value in headers.items()}
        signed = f"{said['webhook-id']}.{said['webhook-timestamp']}.".encode() + body
        expected = base64.b64encode(hmac.digest(self._secret.encode(), signed, "sha256")).decode()
        with self._lock:
            self.requests.append((said, body))
            if self.status >= 300:
                return
            if said.get("webhook-signature") == f"v1,{expected}":
                self.repeated += said["webhook-id"] in self._bodies
                self._bodies[said["webhook-id"]] = json.loads(body)
            else:
                self.forged += 1

    def alerts(self, state: str) -> list[dict[str, Any]]:
        """Every alert of a delivery that came in that state."""
        with self._lock:
            bodies = list(self._bodies.values())
        return [alert for body in bodies for alert in body["data"]["alerts"] if alert["state"] == state]

    def until(self, condition: Callable[[], bool], *, timeout_s: float = 60.0) -> None:
        """Wait for deliveries; AssertionError when they do not come."""
        blocking_until(condition, timeout_s, "a delivery has come")
