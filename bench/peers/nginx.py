"""nginx as a gRPC proxy before a worker: out of the path, or out of Debian's package without installing it."""

from __future__ import annotations

import platform
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.peers.environments import CACHE, MissingError, ran
from bench.peers.server import Server, running
from tests.harness.processes import free_ports

CONFIG = """
daemon off;
worker_processes 1;
pid nginx.pid;
error_log stderr crit;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  client_max_body_size 0;
  client_body_buffer_size 64m;
  keepalive_requests 1000000000;
  http2_max_concurrent_streams 1024;
  client_body_temp_path temp_body; proxy_temp_path temp_proxy; fastcgi_temp_path temp_fastcgi;
  uwsgi_temp_path temp_uwsgi; scgi_temp_path temp_scgi;
  upstream worker {{ server {worker}; keepalive 64; keepalive_requests 1000000000; }}
  server {{
    listen 127.0.0.1:{port} http2;
    location / {{ grpc_pass grpc://worker; grpc_read_timeout 60s; }}
  }}
}}
"""


@contextmanager
def nginx(worker_address: str, folder: Path) -> Iterator[Server]:
    """Stand before a worker for the length of the block, with one process as Envoy has one thread."""
    program = shutil.which("nginx") or _from_debian(CACHE / "nginx")
    folder.mkdir(parents=True)
    (port,) = free_ports(1)
    (folder / "nginx.conf").write_text(CONFIG.format(worker=worker_address, port=port))
    command = [program, "-p", folder, "-c", folder / "nginx.conf", "-e", "stderr"]
    said = subprocess.run([program, "-v"], capture_output=True, text=True, check=True).stderr
    with running(command, port, folder / "nginx.log") as child:
        yield Server(
            name="nginx",
            address=f"127.0.0.1:{port}",
            processes={"nginx": child.pid},
            version=said.strip().rpartition(": ")[2],
        )


def _from_debian(folder: Path) -> str:
    program = folder / "tree" / "usr" / "sbin" / "nginx"
    if not program.exists():
        folder.mkdir(parents=True, exist_ok=True)
        ran(["apt-get", "download", "nginx"], f"nginx is not to be had on {platform.system()}", folder)
        ran(["dpkg", "-x", str(next(folder.glob("nginx_*.deb"))), "tree"], "dpkg cannot open nginx", folder)
    if not program.exists():
        raise MissingError("Debian's package of nginx holds no nginx")
    return str(program)
