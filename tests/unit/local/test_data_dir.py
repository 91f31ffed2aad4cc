"""The data folder of a mesh."""

import stat
from pathlib import Path

import pytest

from servemesh.local.adapters.data_dir import DataDir, DataDirBusyError
from servemesh.local.adapters.log_file import LogFile
from servemesh.local.domain.processes import MeshStatus, ProcessStatus, State


def test_two_supervisors_cannot_have_one_folder(tmp_path: Path):
    with DataDir(tmp_path).locked(), pytest.raises(DataDirBusyError), DataDir(tmp_path).locked():
        pass


def test_a_folder_is_free_again_when_its_supervisor_has_gone(tmp_path: Path):
    folder = DataDir(tmp_path)
    with folder.locked():
        assert folder.is_locked()
    assert not folder.is_locked()
    with folder.locked():
        pass


def test_secrets_are_made_once_and_only_the_owner_reads_them(tmp_path: Path):
    folder = DataDir(tmp_path)
    assert folder.secrets() == folder.secrets()
    assert stat.S_IMODE((tmp_path / "secrets.json").stat().st_mode) == 0o600


def test_a_status_is_read_back_as_it_was_kept(tmp_path: Path):
    folder = DataDir(tmp_path)
    status = MeshStatus(
        pid=7,
        start_time="2026-01-01T00:00:00+00:00",
        data_dir=str(tmp_path),
        address="127.0.0.1:1",
        metrics_address="127.0.0.1:2",
        state=State.READY,
        processes=(ProcessStatus(name="nats", address="127.0.0.1:3", state=State.BACKOFF, restarts=2),),
    )
    folder.keep_status(status)
    assert folder.find_status() == status


def test_a_folder_without_a_mesh_has_no_status(tmp_path: Path):
    assert DataDir(tmp_path).find_status() is None
    assert not DataDir(tmp_path).is_locked()


def test_a_log_never_outgrows_its_bound_by_more_than_one_old_file(tmp_path: Path):
    log = LogFile(tmp_path / "x.log", size_bytes_max=100)
    for number in range(50):
        log.write(f"line {number:04}\n".encode())
    log.close()
    files = sorted(path.name for path in tmp_path.iterdir())
    assert files == ["x.log", "x.log.1"]
    assert all(path.stat().st_size <= 100 for path in tmp_path.iterdir())
    assert (tmp_path / "x.log").read_bytes().endswith(b"line 0049\n")
