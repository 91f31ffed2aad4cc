"""Alert rules as YAML files: those that ship with the service, and a folder of the operator's own."""

from __future__ import annotations

from pathlib import Path

import yaml

from servemesh.errors import InvalidError
from servemesh.metrics.domain.alerting.fields import wrong
from servemesh.metrics.domain.alerting.rule_parsing import RULES_MAX, parse_rules
from servemesh.metrics.domain.alerting.rules import Rule

SHIPPED = Path(__file__).parent.parent / "rules"
_FILE_BYTES_MAX = 256 * 1024
_FILES_MAX = 50


def load_rules(own: Path | None) -> dict[str, Rule]:
    """Return the shipped rules and those of the folder `own`, by id, in the order of the files.

    A rule of the operator's takes the place of a shipped one of its id; `enabled: false` takes it away. InvalidError
    names file, rule and field of what is wrong.
    """
    rules = _folder(SHIPPED)
    if own is not None:
        rules |= _folder(own)
    if len(rules) > RULES_MAX:
        raise wrong(str(own), "", "rules", f"at most {RULES_MAX} with those that ship", len(rules))
    return {rule_id: rule for rule_id, rule in rules.items() if rule is not None}


def _folder(folder: Path) -> dict[str, Rule | None]:
    if not folder.is_dir():
        raise wrong(str(folder), "", "rules_dir", "a folder", "nothing")
    paths = sorted(path for path in folder.iterdir() if path.suffix in (".yaml", ".yml"))
    if len(paths) > _FILES_MAX:
        raise wrong(str(folder), "", "rules_dir", f"at most {_FILES_MAX} files", len(paths))
    rules: dict[str, Rule | None] = {}
    for path in paths:
        found = parse_rules(path.name, _document(path))
        if twice := rules.keys() & found.keys():
            raise wrong(
                path.name, min(twice), "rule", "an id that no other file of the folder has", min(twice)
            )
        rules |= found
    return rules


def _document(path: Path) -> object:
    try:
        with path.open("rb") as file:
            data = file.read(_FILE_BYTES_MAX + 1)
    except OSError as error:
        raise _malformed(path, f"cannot be read: {error.strerror}") from None
    if len(data) > _FILE_BYTES_MAX:
        raise _malformed(path, f"is larger than {_FILE_BYTES_MAX} bytes")
    try:
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(data, Loader=yaml.SafeLoader)):
            raise _malformed(path, "uses a YAML alias; write the value out")  # a few of them make gigabytes
        return yaml.safe_load(data)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        raise _malformed(
            path, f"is not YAML{line}: {getattr(error, 'problem', None) or 'malformed'}"
        ) from None


def _malformed(path: Path, problem: str) -> InvalidError:
    return InvalidError(
        f"rules file {path.name} {problem}", reason="RULE_MALFORMED", file=path.name, field="file"
    )
