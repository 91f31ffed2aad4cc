"""A disk that is full ends no mesh."""

from pathlib import Path

from servemesh.local.adapters.log_file import LogFile


def test_a_log_that_the_disk_does_not_take_is_dropped_and_goes_on_when_there_is_room(tmp_path: Path) -> None:
    path = tmp_path / "worker-1.log"
    path.symlink_to("/dev/full")
    log = LogFile(path, size_bytes_max=1000)
    log.write(b"lost\n")
    path.unlink()
    log.write(b"kept\n")
    log.close()
    assert path.read_bytes() == b"kept\n"
