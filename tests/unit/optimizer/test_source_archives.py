"""Archives of strangers are opened only if they stay inside themselves and inside bounds."""

from __future__ import annotations

import io
import stat
import zipfile
from pathlib import Path

import pytest

from servemesh.errors import InvalidError
from servemesh.optimizer.adapters.converters import archives


def refused(path: Path) -> bool:
    with pytest.raises(InvalidError) as caught, archives.opened(path) as archive:
        archives.read(archive, "config.json", 1_000)
    return caught.value.reason == "ARCHIVE_REFUSED"


def an_archive(folder: Path, *members: tuple[str | zipfile.ZipInfo, bytes]) -> Path:
    path = folder / "model.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return path


def test_a_plain_archive_is_read(tmp_path):
    with archives.opened(an_archive(tmp_path, ("config.json", b"{}"))) as archive:
        assert archives.read(archive, "config.json", 2) == b"{}"


@pytest.mark.parametrize(
    "name", ["../config.json", "/etc/passwd", "a/../../b", "a\\b", "C:/x", "a//b", "./a"]
)
def test_a_member_that_leads_out_is_refused(tmp_path, name):
    assert refused(an_archive(tmp_path, (name, b"{}"), ("config.json", b"{}")))


def test_a_link_is_refused(tmp_path):
    link = zipfile.ZipInfo("weights")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    assert refused(an_archive(tmp_path, (link, b"/etc/passwd"), ("config.json", b"{}")))


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_members_of_one_name_are_refused(tmp_path):
    assert refused(an_archive(tmp_path, ("config.json", b"{}"), ("config.json", b"{1}")))


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path):
    zeros = bytes(80 * 1024**2)
    assert refused(an_archive(tmp_path, ("data", zeros), ("config.json", b"{}")))


def test_a_member_that_states_less_than_it_holds_is_refused(tmp_path):
    path = an_archive(tmp_path, ("config.json", b"x" * 5_000))
    raw = bytearray(path.read_bytes())
    stated = (5_000).to_bytes(4, "little")
    while (place := raw.find(stated)) >= 0:
        raw[place : place + 4] = (10).to_bytes(4, "little")
    path.write_bytes(raw)
    assert refused(path)


def test_a_member_larger_than_its_reader_takes_is_refused(tmp_path):
    assert refused(an_archive(tmp_path, ("config.json", bytes(2_000))))


def test_what_is_missing_or_no_archive_is_refused(tmp_path):
    assert refused(an_archive(tmp_path, ("other.json", b"{}")))
    (tmp_path / "no.zip").write_bytes(b"PK\x03\x04" + bytes(100))
    assert refused(tmp_path / "no.zip")
    half = an_archive(tmp_path, ("config.json", b"{}")).read_bytes()[:-10]
    (tmp_path / "half.zip").write_bytes(half)
    assert refused(tmp_path / "half.zip")
    assert zipfile.is_zipfile(io.BytesIO(half)) is False
