"""Data comes back as it was given, from every format, whatever the split."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest

from servemesh.errors import InvalidError
from servemesh.optimizer.adapters.datasets import columns_file, examine
from servemesh.optimizer.adapters.datasets.rows import Rows, Split
from servemesh.optimizer.domain.splits import Shares
from tests.harness.reports import MemoryReport

COUNT = 50
RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.normal(size=(COUNT, 2, 3)).astype(np.float32)
LABELS = np.arange(COUNT)
TEXTS = [f"line {number} à" * (number % 3) for number in range(COUNT)]


def as_npz(folder: Path) -> None:
    np.savez_compressed(folder / "data.npz", image=IMAGES, label=LABELS, text=np.array(TEXTS))


def as_arrays(folder: Path) -> None:
    np.save(folder / "image.npy", np.asfortranarray(IMAGES.astype(">f4")))
    np.save(folder / "label.npy", LABELS)
    np.save(folder / "text.npy", np.array([text.encode() for text in TEXTS]))


def as_parquet(folder: Path) -> None:
    table = pa.table({"image": IMAGES.tolist(), "label": LABELS, "text": pa.array(TEXTS).dictionary_encode()})
    table = table.set_column(0, "image", table["image"].cast(pa.list_(pa.list_(pa.float32(), 3))))
    pyarrow.parquet.write_table(table, folder / "data.parquet", row_group_size=7)


def as_csv(folder: Path) -> None:
    flat = IMAGES.reshape(COUNT, -1)
    table = {f"image[{index}]": flat[:, index] for index in range(flat.shape[1])}
    pyarrow.csv.write_csv(pa.table({**table, "label": LABELS, "text": TEXTS}), folder / "data.csv")


def examined(folder: Path, labels: tuple[str, ...] = ("label",), **more: Any) -> dict[str, Any]:
    arguments = {"source": "source", "out": "data", "labels": list(labels), **more}
    return examine.run(arguments, folder, MemoryReport())


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    folder.mkdir()
    return folder


@pytest.mark.parametrize("write", [as_npz, as_arrays, as_parquet, as_csv])
def test_rows_come_back_from_every_format(write: Callable[[Path], None], source: Path):
    write(source)
    found = examined(source.parent)
    assert found["format"] == write.__name__.removeprefix("as_")
    assert found["row_count"] == COUNT
    columns = {column["name"]: column for column in found["columns"]}
    assert columns["label"] == {"name": "label", "datatype": "INT64", "row_shape": [], "label": True}
    assert columns["text"]["datatype"] == "BYTES"
    rows = Rows.open(source.parent / "data")
    seen = []
    for split in Split:
        for batch in rows.batches(split, 7):
            numbers = batch.labels["label"]
            seen += numbers.tolist()
            assert batch.inputs.keys() == {"image", "text"}
            images = batch.inputs["image"].reshape(-1, 2, 3)
            assert np.array_equal(images.astype(np.float32), IMAGES[numbers])
            assert batch.inputs["text"].tolist() == [TEXTS[number].encode() for number in numbers]
    assert sorted(seen) == list(range(COUNT))
    assert [rows.count(split) for split in Split] == [5, 35, 10]


def test_a_batch_is_never_more_than_was_asked_for(source: Path):
    as_npz(source)
    examined(source.parent)
    rows = Rows.open(source.parent / "data")
    batches = list(rows.batches(Split.TRAIN, 8, rows_max=20))
    assert [len(batch.labels["label"]) for batch in batches] == [8, 8, 4]
    assert [len(block) for block in rows.column("label", Split.EVALUATE, 8)] == [8, 2]


def test_the_split_can_be_given_and_changed(source: Path):
    as_npz(source)
    examined(source.parent, split={"calibrate": 0, "train": 0, "evaluate": 100, "seed": 3})
    rows = Rows.open(source.parent / "data")
    assert [rows.count(split) for split in Split] == [0, 0, COUNT]
    with pytest.raises(InvalidError) as refusal:
        next(rows.batches(Split.CALIBRATE, 1))
    assert refusal.value.reason == "DATASET_TOO_SMALL"
    columns_file.split_anew(source.parent / "data", Shares(calibrate=50, train=50, evaluate=0))
    assert Rows.open(source.parent / "data").count(Split.CALIBRATE) == COUNT // 2


def test_whole_numbers_that_are_missing_in_csv_become_nan(source: Path):
    (source / "data.csv").write_text("x,y\n1,2\n,4\n")
    assert [column["datatype"] for column in examined(source.parent, ())["columns"]] == ["FP64", "INT64"]


def save(folder: Path, **arrays: Any) -> None:
    np.savez(folder / "data.npz", **arrays)


def parquet(folder: Path, **columns: Any) -> None:
    pyarrow.parquet.write_table(pa.table(columns), folder / "data.parquet")


def text(folder: Path, content: str) -> None:
    (folder / "data.csv").write_text(content)


REFUSED: dict[str, tuple[Callable[[Path], None], str, str]] = {
    "objects": (lambda at: save(at, x=np.array([{}, []], dtype=object)), "COLUMN_UNSUPPORTED", "x"),
    "dates": (lambda at: save(at, x=np.array(["2026-01-01"], "M8[D]")), "COLUMN_UNSUPPORTED", "x"),
    "complex": (lambda at: save(at, x=np.ones(2, complex)), "COLUMN_UNSUPPORTED", "x"),
    "scalar": (lambda at: save(at, x=np.float32(1)), "COLUMN_UNSUPPORTED", "x"),
    "no rows": (lambda at: save(at, x=np.ones(0)), "DATASET_TOO_SMALL", "x"),
    "empty rows": (lambda at: save(at, x=np.ones((3, 0))), "COLUMN_UNEVEN", "x"),
    "row counts": (lambda at: save(at, x=np.ones(3), y=np.ones(4)), "ROW_COUNTS_DIFFER", "y"),
    "ragged": (lambda at: parquet(at, x=[[1.0], [1.0, 2.0]]), "COLUMN_RAGGED", "x"),
    "struct": (lambda at: parquet(at, x=[{"a": 1}]), "COLUMN_UNSUPPORTED", "x"),
    "missing list": (lambda at: parquet(at, x=[[1.0], None]), "VALUES_MISSING", "x"),
    "missing number": (lambda at: parquet(at, x=[1, None]), "VALUES_MISSING", "x"),
    "missing in csv": (lambda at: text(at, "x,y\n,1\n,2\n"), "VALUES_MISSING", "x"),
    "dates in csv": (lambda at: text(at, "x\n2026-01-01\n"), "COLUMN_UNSUPPORTED", "x"),
    "cells in csv": (lambda at: text(at, "x,y\n1,2\n1,2,3\n"), "ROW_UNEVEN", "row 3"),
    "columns twice": (lambda at: text(at, "x,x\n1,2\n"), "COLUMNS_INVALID", "x"),
    "part of a vector": (lambda at: text(at, "x[0],x[2]\n1,2\n"), "COLUMNS_INVALID", "x[1]"),
    "nothing": (lambda at: None, "DATASET_FORMAT_UNKNOWN", "source"),
    "no data": (lambda at: (at / "a.bin").write_bytes(b"\0\1"), "DATASET_FORMAT_UNKNOWN", "source"),
    "two files": (lambda at: (text(at, "x\n1\n"), np.save(at / "y.npy", [1])), "DATASET_FORMAT_UNKNOWN", "source"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_read_is_refused_by_its_column(case: str, source: Path):
    write, reason, field = REFUSED[case]
    write(source)
    with pytest.raises(InvalidError) as refusal:
        examined(source.parent, ())
    assert (refusal.value.reason, refusal.value.metadata["field"]) == (reason, field)
    assert str(source) not in refusal.value.message


def test_labels_must_be_there_and_be_finite_and_leave_an_input(source: Path):
    save(source, x=np.ones(3), label=np.array([0.0, np.nan, 1.0]))
    with pytest.raises(InvalidError, match="in row 1") as refusal:
        examined(source.parent)
    assert refusal.value.reason == "LABELS_NOT_FINITE"
    with pytest.raises(InvalidError, match="which has 'x', 'label'") as refusal:
        examined(source.parent, ("answer",))
    assert refusal.value.reason == "LABEL_COLUMN_MISSING"
    with pytest.raises(InvalidError, match="every column of the data is a label"):
        examined(source.parent, ("x", "label"))


def test_an_archive_that_unpacks_to_too_much_is_refused_unread(source: Path):
    np.savez_compressed(source / "data.npz", x=np.zeros((1000, 1000)))
    assert (source / "data.npz").stat().st_size < 100_000
    with pytest.raises(InvalidError) as refusal:
        examined(source.parent, (), bytes_max=1_000_000)
    assert refusal.value.reason == "DATASET_TOO_LARGE"


@pytest.mark.parametrize("write", [as_npz, as_parquet])
def test_a_file_that_was_cut_off_is_damaged(write: Callable[[Path], None], source: Path):
    write(source)
    (file,) = source.iterdir()
    file.write_bytes(file.read_bytes()[:-200])
    with pytest.raises(InvalidError) as refusal:
        examined(source.parent)
    assert refusal.value.reason in ("DATASET_DAMAGED", "DATASET_FORMAT_UNKNOWN")


def test_a_header_that_promises_more_than_there_is_is_damaged(source: Path):
    np.save(source / "x.npy", np.ones(100))
    content = (source / "x.npy").read_bytes()
    (source / "x.npy").write_bytes(content.replace(b"(100,)", b"(9e9,)".replace(b"e", b"9")))
    with pytest.raises(InvalidError) as refusal:
        examined(source.parent, ())
    assert refusal.value.reason == "DATASET_DAMAGED"
