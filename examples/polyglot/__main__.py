"""`make examples`: builds the example of each language, runs all against one mesh, and compares what they print."""

from __future__ import annotations

import contextlib
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console

from examples.demo import models
from examples.demo.mesh import DemoError, DemoMesh
from examples.polyglot import page
from examples.polyglot.languages import LANGUAGES, PYTHON, Language
from examples.polyglot.running import ExampleError, Outcome, build, difference, output
from servemesh.client import Client
from servemesh.errors import MissingError, ServemeshError

MODEL = "digits"

_out = Console(highlight=False, soft_wrap=True, markup=False)


def main(wanted: list[str]) -> int:
    """Run the examples that are named, or all; return 0 if none failed."""
    chosen = [language for language in LANGUAGES if language in (PYTHON, *_named(wanted or _names()))]
    outcomes = {outcome.language.name: outcome for outcome in _built(chosen)}
    try:
        lines = _run(outcomes)
    except (DemoError, ServemeshError) as error:
        _out.print(f"The mesh failed: {error}")
        return 1
    return _told(list(outcomes.values()), lines)


def _names() -> list[str]:
    return [language.name for language in LANGUAGES]


def _named(names: list[str]) -> list[Language]:
    unknown = set(names) - set(_names())
    if unknown:
        raise SystemExit(
            f"there is no example in {', '.join(sorted(unknown))}; there are {', '.join(_names())}"
        )
    return [language for language in LANGUAGES if language.name in names]


def _built(chosen: list[Language]) -> Iterator[Outcome]:
    for language in chosen:
        missing = language.missing()
        if missing:
            _say(language, f"SKIPPED: this machine lacks {', '.join(missing)}")
            yield Outcome(language=language, skipped=True)
            continue
        try:
            versions = build(language)
        except ExampleError as error:
            _say(language, f"NOT BUILT: {error}")
            yield Outcome(language=language, refused="not built")
            continue
        _say(language, f"built with {versions}")
        yield Outcome(language=language, versions=versions)


def _run(outcomes: dict[str, Outcome]) -> list[str]:
    """Run what is built, put what went wrong into `outcomes`, and return what the first one printed."""
    first: list[str] | None = None
    with (
        tempfile.TemporaryDirectory(prefix="servemesh-examples-") as folder,
        DemoMesh(Path(folder), workers=1) as mesh,
        Client(mesh.address) as client,
    ):
        client.push(MODEL, models.trained_digits().model)
        for name, outcome in outcomes.items():
            if outcome.skipped or outcome.refused:
                continue
            try:
                lines = output(outcome.language, mesh.address)
            except ExampleError as error:
                outcomes[name] = Outcome(language=outcome.language, refused=f"failed: {error}")
                _undeploy(client)
                continue
            first = lines if first is None else first
            refused = difference(first, lines, name)
            outcomes[name] = Outcome(language=outcome.language, versions=outcome.versions, refused=refused)
    return first or []


def _undeploy(client: Client) -> None:
    """Clear up after an example that failed, so that the next one finds what the first one found."""
    with contextlib.suppress(MissingError):
        client.undeploy(MODEL)


def _told(outcomes: list[Outcome], lines: list[str]) -> int:
    _out.print("", *lines, "", sep="\n")
    for outcome in outcomes:
        if outcome.refused:
            _say(outcome.language, f"FAILED: {outcome.refused}")
        elif not outcome.skipped:
            _say(outcome.language, "printed these lines")
    for outcome in outcomes:
        if outcome.skipped:
            _say(outcome.language, f"SKIPPED; make examples-tools, or: {outcome.language.install}")
    if any(outcome.refused for outcome in outcomes):
        return 1
    if len(outcomes) == len(LANGUAGES) and not any(outcome.skipped for outcome in outcomes):
        page.write(outcomes, lines)
        _out.print(f"The report stands in {page.PAGE.relative_to(page.PAGE.parents[1])}")
    return 0


def _say(language: Language, text: str) -> None:
    _out.print(f"{language.title:<7} {text}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
