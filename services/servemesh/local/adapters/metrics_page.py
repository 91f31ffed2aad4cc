"""The Prometheus page of the whole mesh: scrapes every process when it is asked for."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from servemesh.local.adapters.http_probe import fetched
from servemesh.local.adapters.process_usage import SUPERVISOR
from servemesh.local.domain import exposition
from servemesh.observe import metrics, names

_CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SCRAPES_MAX = 8


@contextmanager
def serving_metrics(host: str, port: int, pages: Mapping[str, str], *, timeout_s: float) -> Iterator[str]:
    """Serve /metrics on a thread of its own and give its host:port; `pages` maps process to metrics URL.

    A process that does not answer within `timeout_s` is left out of the page; names.LOCAL_UP says so.
    OSError if the port is taken.
    """
    with ThreadPoolExecutor(_SCRAPES_MAX, thread_name_prefix="scrape") as pool:
        scrape = partial(_scraped, pool, dict(pages), timeout_s)

        class Page(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if self.path.split("?")[0] != "/metrics":
                    self.send_error(404, "the only page here is /metrics")
                    return
                body = scrape().encode()
                self.send_response(200)
                self.send_header("Content-Type", _CONTENT_TYPE)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing: a scrape every few seconds is no event."""

        server = ThreadingHTTPServer((host, port), Page)
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, name="metrics-page")
        thread.start()
        try:
            yield f"{host}:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
            server.server_close()


def _scraped(pool: ThreadPoolExecutor, pages: Mapping[str, str], timeout_s: float) -> str:
    """Return the pages of all processes, and of this one, as one."""
    answers = pool.map(partial(fetched, timeout_s=timeout_s), pages.values())
    texts = dict(zip(pages, answers, strict=True))
    for name, text in texts.items():
        metrics.gauge(names.LOCAL_UP).labels(process=name).set(text is not None)
    own = {SUPERVISOR: metrics.exposition().decode()}
    return exposition.merged(own | {name: text for name, text in texts.items() if text is not None})
