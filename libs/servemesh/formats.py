"""Which other format a file has, told by its content, and what its owner should do instead."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

HEAD_BYTES = 4_096

_TORCH = "export it with torch.onnx.export(model, example_inputs, 'model.onnx', dynamo=True) and push the .onnx file"
_KERAS = "export it with model.export('model.onnx', format='onnx') and push the .onnx file"
_SKLEARN = (
    "if it is a scikit-learn model, convert it with skl2onnx.to_onnx(model, X[:1], options={'zipmap': False}); "
    "if it is a PyTorch model, export it with torch.onnx.export(..., dynamo=True); then push the .onnx file"
)
_TENSORFLOW = (
    "convert it with tf2onnx (python -m tf2onnx.convert ... --output model.onnx) and push the .onnx file"
)
_BOOSTED = "convert it with onnxmltools (convert_lightgbm, convert_xgboost) and push the .onnx file"
_CATBOOST = "save it with model.save_model('model.onnx', format='onnx') and push that file"
_WEIGHTS = "this holds weights without the network, so load them into their model and then " + _TORCH
_DATA = "data are inputs of calls; export the model to ONNX and push the .onnx file"
_UNPACK = "unpack it and push the .onnx file, or the folder that holds it"


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSample:
    """What is looked at of one file: its first HEAD_BYTES, and the names inside if it is a zip archive."""

    path: str
    size_bytes: int
    head: bytes
    members: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignFormat:
    """A format that is not served: what it is, and what to do. `pickled` formats run code when opened."""

    title: str
    advice: str
    pickled: bool = False


Rule = tuple[Callable[[FileSample], bool], ForeignFormat]


def foreign_format(sample: FileSample) -> ForeignFormat | None:
    """Return the format of `sample` if it is one that is known and not served, else None."""
    return next((found for fits, found in _RULES if fits(sample)), None)


def _foreign(title: str, advice: str, *, pickled: bool = False) -> ForeignFormat:
    return ForeignFormat(title=title, advice=advice, pickled=pickled)


def _starts(*magics: bytes) -> Callable[[FileSample], bool]:
    return lambda sample: sample.head.startswith(magics)


def _at(offset: int, *magics: bytes) -> Callable[[FileSample], bool]:
    return lambda sample: sample.head.startswith(magics, offset)


def _member(*endings: str) -> Callable[[FileSample], bool]:
    return lambda sample: any(member.endswith(endings) for member in sample.members)


def _both(*rules: Callable[[FileSample], bool]) -> Callable[[FileSample], bool]:
    return lambda sample: all(rule(sample) for rule in rules)


def _pickle(sample: FileSample) -> bool:
    head = sample.head
    if head[:1] == b"\x80":  # protocol 2 to 5: PROTO, then one of the opcodes that can come first
        framed = head[1:2] in (b"\x04", b"\x05") and head[2:3] == b"\x95"
        return framed or (head[1:2] in b"\x02\x03\x04\x05" and head[2:3] in b"c}](X\x8a\x8cBCKGJMNU\x88\x89V")
    return _TEXT_PICKLE.match(head) is not None  # protocol 0 and 1 have no magic


# Protocol 0 and 1: an import ("cmodule\nname\n") or a container, each followed by what only a pickle goes on with,
# so that a list of words, one a line, is not taken for one.
_TEXT_PICKLE = re.compile(
    rb"\(?c[A-Za-z_][\w.]*\n[A-Za-z_][\w.]*\n(p\d+\n|q[\x00-\x08]|[()\x85\x86])"
    rb"|\(i[A-Za-z_][\w.]*\n[A-Za-z_][\w.]*\np\d+\n|\([dlt]p\d+\n|[\]})]q\x00"
)


def _deflated_pickle(sample: FileSample) -> bool:
    """Whether it is a pickle compressed with zlib or gzip, as joblib writes it; only its beginning is unpacked."""
    if sample.head[:2] not in (b"x\x01", b"x\x5e", b"x\x9c", b"x\xda", b"\x1f\x8b"):
        return False
    try:
        head = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32).decompress(sample.head, HEAD_BYTES)
    except zlib.error:
        return False
    return _pickle(replace(sample, head=head))


def _joblib(sample: FileSample) -> bool:
    return _pickle(sample) and any(word in sample.head for word in (b"joblib", b"sklearn", b"numpy"))


def _safetensors(sample: FileSample) -> bool:
    header_bytes = int.from_bytes(sample.head[:8], "little")
    return sample.head[8:9] == b"{" and 2 <= header_bytes <= sample.size_bytes - 8


def _saved_model(sample: FileSample) -> bool:
    return sample.path.endswith("saved_model.pb") or (
        sample.head.startswith(b"\x08\x01\x12") and b"serve" in sample.head
    )


def _graph_def(sample: FileSample) -> bool:
    return sample.head.startswith(b"\x0a") and b"\x12\x0bPlaceholder" in sample.head


def _xgboost(sample: FileSample) -> bool:
    return sample.head[:1] == b"{" and b"learner" in sample.head


def _keras_zip(sample: FileSample) -> bool:
    return {"metadata.json", "config.json"} <= set(sample.members)


def _numpy_zip(sample: FileSample) -> bool:
    return bool(sample.members) and all(member.endswith(".npy") for member in sample.members)


_ZIP = _starts(b"PK\x03\x04", b"PK\x05\x06")

# The first rule that fits wins, so what is special stands before what is general.
_RULES: Sequence[Rule] = (
    (
        _both(_ZIP, _member("data.pkl"), _member("constants.pkl")),
        _foreign("a TorchScript archive, which holds pickles", _TORCH, pickled=True),
    ),
    (
        _both(_ZIP, _member(".pkl", ".pickle", ".joblib")),
        _foreign("a PyTorch pickle checkpoint (or another archive of pickles)", _TORCH, pickled=True),
    ),
    (_both(_ZIP, _keras_zip), _foreign("a Keras archive", _KERAS)),
    (_both(_ZIP, _member("schema.json")), _foreign("a skops archive", _SKLEARN)),
    (_both(_ZIP, _numpy_zip), _foreign("an archive of NumPy arrays", _WEIGHTS)),
    (_both(_ZIP, _member(".pt2", "archive_format")), _foreign("a torch.export archive", _TORCH)),
    (_ZIP, _foreign("a zip archive", _UNPACK)),
    (
        _starts(b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19"),
        _foreign("a PyTorch pickle checkpoint", _TORCH, pickled=True),
    ),
    (_joblib, _foreign("a Python pickle (joblib or scikit-learn)", _SKLEARN, pickled=True)),
    (_pickle, _foreign("a Python pickle", _SKLEARN, pickled=True)),
    (_deflated_pickle, _foreign("a compressed Python pickle (probably joblib)", _SKLEARN, pickled=True)),
    (
        _starts(b"\x89HDF\r\n\x1a\n"),
        _foreign("an HDF5 file, probably Keras weights or a Keras model", _KERAS),
    ),
    (
        _starts(b"GGUF", b"ggml", b"ggjt", b"lmgg", b"fmgg"),
        _foreign("a GGUF or GGML language model", _WEIGHTS),
    ),
    (_at(4, b"TFL3"), _foreign("a TensorFlow Lite model", _TENSORFLOW)),
    (
        _at(4, b"ORTM"),
        _foreign("onnxruntime's own ORT format", "push the .onnx file that it was made from"),
    ),
    (_at(4, b"ET12", b"ET13"), _foreign("an ExecuTorch program", _TORCH)),
    (_starts(b"ftrt", b"ptrt"), _foreign("a TensorRT engine", "push the .onnx file that it was built from")),
    (_safetensors, _foreign("a safetensors file", _WEIGHTS)),
    (_starts(b"\x93NUMPY"), _foreign("a NumPy array", _DATA)),
    (_saved_model, _foreign("a TensorFlow SavedModel", _TENSORFLOW)),
    (_graph_def, _foreign("a TensorFlow graph", _TENSORFLOW)),
    (_starts(b"\xff\xd8\xff", b"\x89PNG\r\n", b"GIF8", b"RIFF"), _foreign("an image or a sound", _DATA)),
    (_starts(b"CBM1"), _foreign("a CatBoost model", _CATBOOST)),
    (_starts(b"tree\nversion="), _foreign("a LightGBM text model", _BOOSTED)),
    (_starts(b"binf"), _foreign("an XGBoost binary model", _BOOSTED)),
    (_xgboost, _foreign("an XGBoost model", _BOOSTED)),
    (
        _starts(b"version https://git-lfs"),
        _foreign("a Git LFS pointer instead of the file itself", "run 'git lfs pull' and push again"),
    ),
    (
        _starts(b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd", b"7z\xbc\xaf"),
        _foreign("a compressed file", _UNPACK),
    ),
    (_at(257, b"ustar"), _foreign("a tar archive", _UNPACK)),
    (_starts(b"\x7fELF", b"MZ\x90"), _foreign("a program or a shared library", "push the model, not code")),
    (
        _starts(b"<ir_version"),
        _foreign(
            "an ONNX model in text form",
            "save it with onnx.save(onnx.parser.parse_model(text), 'model.onnx')",
        ),
    ),
    (
        _starts(b"<!DOCTYPE", b"<!doctype", b"<html", b"<HTML"),
        _foreign("a web page, probably saved instead of the file", "download the file itself and push again"),
    ),
)
