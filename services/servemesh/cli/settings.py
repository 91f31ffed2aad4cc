"""What the environment can say to every command: SERVEMESH_ADDRESS and SERVEMESH_DATA_DIR."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from servemesh.client.attempts import DEFAULT_ADDRESS
from servemesh.local.settings import default_data_dir


class Settings(BaseSettings):
    """Defaults of options."""

    model_config = SettingsConfigDict(env_prefix="SERVEMESH_", frozen=True)

    address: str = DEFAULT_ADDRESS
    """host:port of the mesh; several are separated by commas."""
    data_dir: Path = Field(default_factory=default_data_dir)
    """Data folder of the local mesh."""
