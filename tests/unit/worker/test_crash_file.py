"""Which artifacts a dead process is blamed on."""

from __future__ import annotations

from pathlib import Path

from servemesh.worker.adapters.crash_file import FAULTS, CrashFile

A, B = "a" * 64, "b" * 64


def crashed(folder: Path) -> None:
    (folder / FAULTS).write_text("Fatal Python error: Segmentation fault")


def test_a_process_that_ends_while_it_opens_an_artifact_is_counted(tmp_path: Path):
    for count in range(3):
        journal = CrashFile(tmp_path)
        assert journal.crashes(A) == count
        journal.opening(A)


def test_opening_without_harm_forgets_what_was_counted(tmp_path: Path):
    CrashFile(tmp_path).opening(A)
    journal = CrashFile(tmp_path)
    journal.opening(A)
    journal.opened(A)
    assert CrashFile(tmp_path).crashes(A) == 0


def test_a_crash_is_blamed_on_what_was_being_run(tmp_path: Path):
    journal = CrashFile(tmp_path)
    for digest in (A, B):
        mark = journal.mark(digest)
        assert mark is not None
        mark.__enter__()
    mark.__exit__(None, None, None)
    crashed(tmp_path)
    after = CrashFile(tmp_path)
    assert (after.crashes(A), after.crashes(B)) == (1, 0)
    assert (tmp_path / FAULTS).read_bytes() == b""


def test_a_kill_from_outside_is_blamed_on_nothing_that_was_being_run(tmp_path: Path):
    mark = CrashFile(tmp_path).mark(A)
    assert mark is not None
    mark.__enter__()
    assert CrashFile(tmp_path).crashes(A) == 0


def test_a_process_that_ends_in_order_leaves_no_counts(tmp_path: Path):
    CrashFile(tmp_path).opening(A)
    CrashFile(tmp_path).forget()
    assert CrashFile(tmp_path).crashes(A) == 0


def test_a_file_that_we_did_not_write_counts_for_nothing(tmp_path: Path):
    for text in ("[1]", '{"opening": 3}', "{", '{"opening": {"x": "y"}}'):
        (tmp_path / "crashes.json").write_text(text)
        assert CrashFile(tmp_path).crashes(A) == 0
