"""What child processes see of the optimizer's environment."""

from __future__ import annotations

import pytest

from servemesh.optimizer import bounds
from servemesh.optimizer.settings import Settings


def test_children_get_what_pip_and_cuda_go_by_and_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    passed = {"PIP_INDEX_URL": "https://index", "https_proxy": "p", "CUDA_VISIBLE_DEVICES": "0"}
    kept = {"SERVEMESH_OPTIMIZER_S3_SECRET_KEY": "secret", "AWS_SECRET_ACCESS_KEY": "s", "PYTHONPATH": "x"}
    for name, value in {**passed, **kept}.items():
        monkeypatch.setenv(name, value)
    given = bounds.child_settings(Settings()).environment
    assert passed.items() <= given.items()
    assert not kept.keys() & given.keys()
    assert "secret" not in given.values()
