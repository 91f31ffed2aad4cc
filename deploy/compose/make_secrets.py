"""Creates the secrets of compose.yaml, each a random one in a file: `python deploy/compose/make_secrets.py`.

What is there already is kept. The folder is its owner's alone; the files in it can be read by the user that the
containers run as.
"""

from __future__ import annotations

import json
import os
import secrets
import sys
from collections.abc import Callable
from pathlib import Path

FOLDER = Path(__file__).parent / "secrets"
BUCKET = "servemesh"


def made(folder: Path = FOLDER) -> list[str]:
    """Write every secret that is missing and return the names of those."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    written: list[str] = []

    def kept(name: str, make: Callable[[], str]) -> str:
        path = folder / name
        if not path.exists():
            fresh = path.with_suffix(".new")
            fresh.write_text(make())
            fresh.chmod(0o444)
            os.replace(fresh, path)
            written.append(name)
        return path.read_text().strip()

    access_key = kept("s3_access_key", lambda: secrets.token_hex(10))
    secret_key = kept("s3_secret_key", lambda: secrets.token_hex(20))
    kept("s3.json", lambda: _seaweed_identity(access_key, secret_key))
    kept("minio.env", lambda: f"MINIO_ROOT_USER={access_key}\nMINIO_ROOT_PASSWORD={secret_key}\n")
    password = kept("postgres_password", lambda: secrets.token_hex(20))
    kept("postgres.env", lambda: f"POSTGRES_PASSWORD={password}\n")
    kept("registry_database_url", lambda: f"postgresql://servemesh:{password}@postgres:5432/servemesh")
    kept("grafana_password", lambda: secrets.token_hex(10))
    return written


def _seaweed_identity(access_key: str, secret_key: str) -> str:
    credentials = [{"accessKey": access_key, "secretKey": secret_key}]
    actions = ["Admin", "Read", "Write", "List", "Tagging"]
    return json.dumps({"identities": [{"name": BUCKET, "credentials": credentials, "actions": actions}]})


if __name__ == "__main__":
    names = made()
    sys.stdout.write(f"new in {FOLDER.name}/: {', '.join(names) or 'nothing, all were there'}\n")
