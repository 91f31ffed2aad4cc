"""What a source is, is told by its content; what runs code when read is refused with the safe way to save it."""

from __future__ import annotations

import pytest

from servemesh.errors import InvalidError
from servemesh.formats import FileSample
from servemesh.optimizer.domain.sources import SourceFile, SourceFormat, recognise
from tests.harness.hostile_files import PICKLE

SAFETENSORS = (2).to_bytes(8, "little") + b"{}"
ZIP = b"PK\x03\x04"
HUB_CONFIG = b'{"model_type": "bert", "architectures": ["BertModel"]}'


def a_file(path: str = "model", head: bytes = b"", *members: str, text: bytes = b"") -> SourceFile:
    sample = FileSample(path=path, size_bytes=max(len(head), 64), head=head or text, members=members)
    return SourceFile(sample=sample, texts={"": text} if text else {})


def refusal_of(*files: SourceFile, wanted: str = "") -> InvalidError:
    with pytest.raises(InvalidError) as caught:
        recognise(files, wanted)
    return caught.value


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        (a_file("x.bin", ZIP, "m/archive_format", "m/models/model.json"), SourceFormat.TORCH_EXPORT),
        (a_file("x.pkl", ZIP, "metadata.json", "config.json", "model.weights.h5"), SourceFormat.KERAS),
        (a_file("x", ZIP, "schema.json", "1.npy"), SourceFormat.SKLEARN),
        (a_file("x.txt", b'{"learner":{"attributes"'), SourceFormat.XGBOOST),
        (a_file("x", b"{L\0\0\0\0\0\0\0\2i\7learner{"), SourceFormat.XGBOOST),
        (a_file("x.json", b"tree\nversion=v4\n"), SourceFormat.LIGHTGBM),
        (a_file("saved_model.pb", b"\x08\x01\x12\x04"), SourceFormat.TENSORFLOW),
    ],
)
def test_the_format_is_told_by_content_whatever_the_name_is(file, expected):
    assert recognise([file]).format is expected


def test_a_hub_folder_is_its_config_beside_safetensors_and_its_pickles_are_left_out():
    found = recognise(
        [
            a_file("net/config.json", text=HUB_CONFIG),
            a_file("net/model.safetensors", SAFETENSORS),
            a_file("net/training_args.bin", ZIP, "args/data.pkl"),
        ]
    )
    assert (found.format, found.path) == (SourceFormat.HUGGING_FACE, "net")
    assert found.left_out == ("net/training_args.bin",)


def test_a_hub_folder_with_weights_in_a_pickle_is_told_how_to_save_them():
    refusal = refusal_of(
        a_file("config.json", text=HUB_CONFIG), a_file("pytorch_model.bin", ZIP, "archive/data.pkl")
    )
    assert refusal.reason == "PICKLE_REFUSED"
    assert "safe_serialization=True" in refusal.message


@pytest.mark.parametrize(
    ("file", "advice"),
    [
        (a_file("model.pt2", PICKLE), "torch.export.save"),
        (a_file("model.pt2", ZIP, "archive/data.pkl", "archive/data/0"), "torch.export.save"),
        (
            a_file("model.pt", ZIP, "m/data.pkl", "m/constants.pkl", "m/code/__torch__.py"),
            "torch.export.save",
        ),
        (a_file("model.skops", b"\x80\x03csklearn.svm\nSVC\n"), "skops.io.dump"),
    ],
)
def test_a_pickle_is_refused_whatever_it_is_called(file, advice):
    refusal = refusal_of(file)
    assert refusal.reason == "PICKLE_REFUSED"
    assert advice in refusal.message


def test_a_pickle_beside_a_program_is_refused_too():
    program = a_file("model.txt", b"tree\nversion=v4\n")
    assert refusal_of(program, a_file("more.bin", PICKLE)).reason == "PICKLE_REFUSED"


@pytest.mark.parametrize(
    ("file", "reason", "advice"),
    [
        (a_file("m.h5", b"\x89HDF\r\n\x1a\n"), "SOURCE_UNSUPPORTED", ".save('model.keras')"),
        (a_file("m.keras", b"\x08\x0a\x12\x07pytorch"), "SOURCE_IS_ONNX", "servemesh model push"),
        (a_file("m.pt2", ZIP, "serialized_exported_program.json"), "SOURCE_UNSUPPORTED", "torch.export.load"),
        (
            a_file("m.pt2", ZIP, "m/archive_format", "m/data/aotinductor/model/x.so"),
            "SOURCE_UNSUPPORTED",
            "export",
        ),
        (a_file("m.safetensors", SAFETENSORS), "SOURCE_UNSUPPORTED", "without their network"),
        (a_file("m", b"binf"), "SOURCE_UNSUPPORTED", "save_model('model.json')"),
        (a_file("m", b"what is this"), "SOURCE_UNSUPPORTED", "What is converted"),
        (a_file("m", b""), "SOURCE_UNSUPPORTED", "What is converted"),
    ],
)
def test_what_is_not_converted_is_refused_with_what_to_do(file, reason, advice):
    refusal = refusal_of(file)
    assert refusal.reason == reason
    assert advice in refusal.message


def test_two_programs_are_one_too_many():
    refusal = refusal_of(a_file("a", b"tree\nversion=v4\n"), a_file("b", b'{"learner":{}}'))
    assert refusal.reason == "SOURCE_AMBIGUOUS"


def test_content_that_is_not_what_the_user_named_is_an_error():
    refusal = refusal_of(a_file("a", b"tree\nversion=v4\n"), wanted="xgboost")
    assert refusal.reason == "SOURCE_FORMAT_MISMATCH"
    assert refusal.metadata["got"] == "lightgbm"
