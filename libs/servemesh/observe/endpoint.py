"""The HTTP thread of a process: `/metrics` for Prometheus and `/healthz`, which answers even when the loop hangs."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from socketserver import TCPServer
from typing import Any

from servemesh.errors import UnavailableError
from servemesh.observe import metrics

READ_S = 5.0  # for a scraper to send its request
LAG_S_MAX = 10.0  # of the event loop, before /healthz says 503
Page = Callable[[], bytes]
NO_PAGES: Mapping[str, Page] = {}


@contextmanager
def exposing(
    address: str, loop_lag_s: Callable[[], float], pages: Mapping[str, Page] = NO_PAGES
) -> Iterator[str]:
    """Serve `/metrics`, `/healthz` and `pages` of metrics from a thread; yield the bound "host:port"."""
    host, _, port = address.rpartition(":")
    try:
        server = _Server((host.strip("[]"), int(port)), _handler(loop_lag_s, pages))
    except (OSError, ValueError) as error:
        raise UnavailableError(
            f"cannot listen on {address} for metrics: another process has it, or it is no address of this machine",
            reason="ADDRESS_TAKEN",
            address=address,
        ) from error
    thread = threading.Thread(
        target=server.serve_forever, kwargs={"poll_interval": 0.1}, name="servemesh-metrics", daemon=True
    )
    thread.start()
    try:
        yield f"{host}:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(READ_S)


class _Server(TCPServer):
    """Not http.server's own, which asks DNS for the machine's name before it serves."""

    allow_reuse_address = True


def _handler(loop_lag_s: Callable[[], float], pages: Mapping[str, Page]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = READ_S

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            if path == "/metrics":
                self._answer(200, metrics.CONTENT_TYPE, metrics.exposition())
            elif path in pages:
                self._answer(200, metrics.CONTENT_TYPE, pages[path]())
            elif path == "/healthz":
                lag_s = loop_lag_s()
                body = json.dumps({"loop_lag_s": round(lag_s, 3)}).encode()
                self._answer(200 if lag_s < LAG_S_MAX else 503, "application/json", body)
            else:
                self._answer(404, "text/plain", b"/metrics or /healthz\n")

        def _answer(self, status: int, content_type: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: Any) -> None:
            """Scrapes are not events."""

    return Handler
