"""What an Upload may hold."""

from __future__ import annotations

import pytest

from servemesh.errors import InvalidError, OverloadedError
from servemesh.registry.domain.models import ArtifactFile
from servemesh.registry.domain.uploads import UploadLimits, checked_files

LIMITS = UploadLimits(bytes_max=100, files_max=2)


def files_at(*paths: str) -> list[ArtifactFile]:
    return [ArtifactFile(path=path, size_bytes=1) for path in paths]


@pytest.mark.parametrize(
    "path", ["model.onnx", "a/b/weights.bin", ".hidden", "naïve/模型.onnx", "a..b", "x" * 255]
)
def test_a_plain_relative_path_is_taken(path):
    assert checked_files(files_at(path), LIMITS)[0].path == path


LEADING_ELSEWHERE = ["/a", "~/a", "..", "../a", "a/../b", "a/..", "./a", "a//b", "a/", ".", "a\\b", "C:a"]
UNPRINTABLE = ["", "a\nb", "a\x00", "a\u202eb", "x" * 256, "é" * 128]


@pytest.mark.parametrize("path", LEADING_ELSEWHERE + UNPRINTABLE)
def test_a_path_that_could_lead_elsewhere_is_refused(path):
    with pytest.raises(InvalidError) as refused:
        checked_files(files_at(path), LIMITS)
    assert refused.value.reason == "PATH_REFUSED"
    assert refused.value.metadata["field"] == "upload.files[0].path"


@pytest.mark.parametrize("paths", [("a", "a"), ("a", "A"), ("a", "a/b"), ("A/b", "a")])
def test_paths_do_not_collide_on_any_disk(paths):
    with pytest.raises(InvalidError) as refused:
        checked_files(files_at(*paths), LIMITS)
    assert refused.value.reason == "PATH_DUPLICATE"


def test_size_and_number_of_files_are_bounded():
    with pytest.raises(OverloadedError) as too_many:
        checked_files(files_at("a", "b", "c"), LIMITS)
    with pytest.raises(OverloadedError) as too_large:
        checked_files([ArtifactFile(path="a", size_bytes=101)], LIMITS)
    assert (too_many.value.reason, too_large.value.reason) == ("UPLOAD_FILES_MAX", "UPLOAD_BYTES_MAX")


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ([], "UPLOAD_EMPTY"),
        ([ArtifactFile(path="a", size_bytes=-1)], "UPLOAD_SIZE_NEGATIVE"),
        ([ArtifactFile(path="a", size_bytes=1, sha256="A" * 64)], "DIGEST_MALFORMED"),
        ([ArtifactFile(path="a", size_bytes=1, sha256="abc")], "DIGEST_MALFORMED"),
    ],
)
def test_a_malformed_declaration_is_refused(files, reason):
    with pytest.raises(InvalidError) as refused:
        checked_files(files, LIMITS)
    assert refused.value.reason == reason
