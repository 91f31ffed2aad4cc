"""docs/settings.md says of every setting what the settings classes say."""

from __future__ import annotations

import pytest
from pydantic_settings import BaseSettings

from tests.lint import settings_doc


def test_the_page_is_what_the_settings_say():
    assert settings_doc.PAGE.read_text() == settings_doc.page(), "python -m tests.lint.settings_doc --write"


@pytest.mark.parametrize(
    "kind", [kind for _, _, kind in settings_doc.SECTIONS], ids=lambda kind: kind.__module__
)
def test_every_setting_says_what_it_means(kind: type[BaseSettings]):
    silent = [setting.variables[0] for setting in settings_doc.settings_of(kind) if not setting.meaning]
    assert silent == []
