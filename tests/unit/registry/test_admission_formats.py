"""Formats that are not served are told by their content."""

from __future__ import annotations

import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servemesh.formats import FileSample, foreign_format
from servemesh.registry.domain.protobuf_outline import outline

HDF5 = b"\x89HDF\r\n\x1a\n"
FORMATS = [
    (b"\x80\x04\x95\x10\x00", "Python pickle"),
    (b"\x80\x02}q\x00X\x04\x00\x00\x00", "Python pickle"),
    (b"\x80\x03csklearn.svm\nSVC\n", "joblib or scikit-learn"),
    (b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.", "PyTorch pickle"),
    (b"ccopy_reg\n_reconstructor\np0\n(c", "Python pickle"),
    (b"(dp0\nS'a'\np1\n", "Python pickle"),
    (zlib.compress(b"\x80\x04\x95\x10\x00" + bytes(9_000)), "compressed Python pickle"),
    (gzip.compress(b"\x80\x02}q\x00.", mtime=0), "compressed Python pickle"),
    (HDF5, "HDF5"),
    (b"GGUF\x03\x00\x00\x00", "GGUF"),
    (b"\x1c\x00\x00\x00TFL3", "TensorFlow Lite"),
    (b"\x10\x00\x00\x00ORTM", "ORT format"),
    (b"\x02\x00\x00\x00\x00\x00\x00\x00{}", "safetensors"),
    (b"\x93NUMPY\x01\x00", "NumPy array"),
    (b"tree\nversion=v4\n", "LightGBM"),
    (b'{"learner":{"attributes":{}', "XGBoost"),
    (b"{L\x00\x00\x00\x00\x00\x00\x00\x02i\x07learner{", "XGBoost"),
    (b"CBM1", "CatBoost"),
    (b"\x08\x01\x12\xf3\x02\n\x20\x05\x00\x00serve", "SavedModel"),
    (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
    (b"\x1f\x8b\x08\x00", "compressed"),
    (b"\x7fELF\x02\x01", "shared library"),
    (b"<!DOCTYPE html><html>", "web page"),
    (b"<ir_version: 8>", "text form"),
    (b"\xff\xd8\xff\xe0\x00\x10JFIF", "image"),
]
ARCHIVES = [
    (("archive/data.pkl", "archive/version"), "PyTorch pickle checkpoint"),
    (("net/data.pkl", "net/constants.pkl", "net/code/__torch__.py"), "TorchScript"),
    (("metadata.json", "config.json", "model.weights.h5"), "Keras"),
    (("schema.json", "4.npy"), "skops"),
    (("a.npy", "b.npy"), "NumPy arrays"),
    (("model.onnx", "weights.bin"), "zip archive"),
    ((), "zip archive"),
]


def a_sample(head: bytes, members: tuple[str, ...] = (), path: str = "model.onnx") -> FileSample:
    return FileSample(path=path, size_bytes=max(len(head), 10_000), head=head, members=members)


@pytest.mark.parametrize(("head", "title"), FORMATS)
def test_a_known_format_is_named_whatever_the_file_is_called(head, title):
    found = foreign_format(a_sample(head))
    assert found is not None
    assert title in found.title
    assert found.pickled == ("pickle" in found.title)


@pytest.mark.parametrize(("members", "title"), ARCHIVES)
def test_a_zip_archive_is_told_by_what_it_holds(members, title):
    found = foreign_format(a_sample(b"PK\x03\x04", members))
    assert found is not None
    assert title in found.title


@pytest.mark.parametrize(
    "head", [b"", b"\x08\x09\x12\x07pytorch", b"# a readme", b"cat\ndog\npig\n", b'{"hidden_size": 384}']
)
def test_what_is_not_known_has_no_name(head):
    assert foreign_format(a_sample(head)) is None


@given(st.binary(max_size=600), st.lists(st.text(max_size=20), max_size=3))
def test_no_bytes_break_the_sniffing(head, members):
    foreign_format(a_sample(head, tuple(members)))


@given(st.binary(max_size=300), st.integers(min_value=0, max_value=2**40))
def test_no_bytes_break_the_walk_over_fields(data, size_bytes):
    found = outline(lambda offset, length: data[offset : offset + length], size_bytes)
    # What a field holds is passed over, not read: a file may end inside its last one without anybody noticing here.
    assert found.fault is not None or found.fields or size_bytes == 0
