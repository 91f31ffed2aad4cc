"""Which artifacts a dead process is blamed on."""

from __future__ import annotations

import threading
from pathlib import Path

from servemesh.worker.adapters.crash_file import FAULTS, CrashFile

A, B = "a" * 64, "b" * 64


def crashed(folder: Path, thread: int = 0) -> None:
    (folder / FAULTS).write_text(
        f"Fatal Python error: Segmentation fault\n\nCurrent thread 0x{thread:016x} (most recent call first):"
    )


def running(journal: CrashFile, digest: str) -> int:
    """Have another thread end in the middle of a run; return which one it was."""

    def run() -> None:
        mark = journal.mark(digest)
        assert mark is not None
        mark.__enter__()
        ended.wait()

    ended = threading.Event()
    thread = threading.Thread(target=run)
    thread.start()
    ended.set()
    thread.join()
    assert thread.ident is not None
    return thread.ident


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
    running(journal, A)
    mark = journal.mark(B)
    assert mark is not None
    with mark:
        pass
    crashed(tmp_path)
    after = CrashFile(tmp_path)
    assert (after.crashes(A), after.crashes(B)) == (1, 0)
    assert (tmp_path / FAULTS).read_bytes() == b""


def test_of_several_that_were_being_run_the_thread_that_crashed_tells_which(tmp_path: Path):
    journal = CrashFile(tmp_path)
    mark = journal.mark(A)
    assert mark is not None
    mark.__enter__()
    crashed(tmp_path, running(journal, B))
    after = CrashFile(tmp_path)
    assert (after.crashes(A), after.crashes(B)) == (0, 1)


def test_all_that_were_being_run_are_blamed_if_the_thread_is_none_of_theirs(tmp_path: Path):
    running(CrashFile(tmp_path), A)
    crashed(tmp_path, 1)
    assert CrashFile(tmp_path).crashes(A) == 1


def test_what_the_process_is_ended_for_is_counted(tmp_path: Path):
    CrashFile(tmp_path).condemned(A)
    assert CrashFile(tmp_path).crashes(A) == 1


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
