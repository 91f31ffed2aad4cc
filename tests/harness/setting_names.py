"""Every variable that a process of the mesh is set by, from the settings classes."""

from __future__ import annotations

from tests.lint import settings_doc

SETTINGS = {
    variable
    for _, _, kind in settings_doc.SECTIONS
    for setting in settings_doc.settings_of(kind)
    for variable in setting.variables
}
