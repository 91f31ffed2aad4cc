"""torch.export programs become ONNX models whose free sizes stay free, and never run what is in the file."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.harness.conversions import TARGET, converted, outputs_of, refusal, shapes_of, source_of
from tests.harness.hostile_files import PICKLE


class TinyNet(torch.nn.Module):
    """A convolution, a batch norm and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.features = torch.nn.Sequential(
            torch.nn.Conv2d(1, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.ReLU()
        )
        self.head = torch.nn.Linear(4, 10)

    def forward(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"logits": self.head(self.features(image).mean((2, 3)))}


class Scaled(torch.nn.Module):
    """Adds what it is given by position and by keyword."""

    def forward(self, left: torch.Tensor, *, right: torch.Tensor) -> torch.Tensor:
        return left + 2 * right


BATCH = torch.export.Dim("rows", min=1, max=64)


@pytest.fixture(scope="module")
def program() -> bytes:
    """A saved program that takes any number of 8 by 8 images."""
    torch.manual_seed(0)
    example = torch.zeros(2, 1, 8, 8)
    return saved(torch.export.export(TinyNet().eval(), (example,), dynamic_shapes={"image": {0: BATCH}}))


def saved(program: Any) -> bytes:
    buffer = io.BytesIO()
    torch.export.save(program, buffer)
    return buffer.getvalue()


def changed(program: bytes, change: Callable[[dict[str, bytes]], None]) -> bytes:
    """The archive with other members."""
    with zipfile.ZipFile(io.BytesIO(program)) as archive:
        members = {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}
    change(members)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(f"model/{name}", content)
    return buffer.getvalue()


def write(folder: Path, raw: bytes) -> None:
    (source_of(folder) / "model.pt2").write_bytes(raw)


def test_a_program_converts_with_any_number_of_rows(tmp_path, program):
    write(tmp_path, program)
    result = converted(tmp_path)
    assert result["format"] == "torch_export"
    assert result["warnings"] == []
    assert result["parity"]["max_rel"] <= 1e-4
    assert result["parity"]["argmax_agreement"] == 1.0
    assert shapes_of(tmp_path)["image"] == ["batch", 1, 8, 8]
    (logits,) = outputs_of(tmp_path, image=np.zeros((5, 1, 8, 8), np.float32)).values()
    assert logits.shape == (5, 10)


def test_a_program_of_a_fixed_number_of_rows_converts_with_a_warning(tmp_path):
    example = (torch.zeros(3, 2),)
    write(tmp_path, saved(torch.export.export(Scaled(), example, {"right": torch.ones(3, 2)})))
    result = converted(tmp_path)
    assert "3 rows at a time" in result["warnings"][0]
    assert result["parity"]["row_count"] == 3
    assert shapes_of(tmp_path)["right"] == [3, 2]


def test_a_sample_input_that_is_a_pickle_is_never_opened(tmp_path, program):
    """torch.export.load would run it."""
    bomb = {"data/sample_inputs/model.pt": PICKLE}
    write(tmp_path, changed(program, lambda members: members.update(bomb)))
    assert converted(tmp_path)["parity"]["max_rel"] <= 1e-4


def test_a_weight_that_is_a_pickle_is_refused(tmp_path, program):
    def change(members: dict[str, bytes]) -> None:
        config = json.loads(members["data/weights/model_weights_config.json"])
        next(iter(config["config"].values()))["use_pickle"] = True
        members["data/weights/model_weights_config.json"] = json.dumps(config).encode()
        members["data/weights/weight_0"] = PICKLE

    write(tmp_path, changed(program, change))
    assert refusal(tmp_path).reason == "PICKLE_REFUSED"


def test_a_whole_pickle_named_pt2_is_refused(tmp_path):
    buffer = io.BytesIO()
    torch.save(TinyNet().state_dict(), buffer)
    write(tmp_path, buffer.getvalue())
    error = refusal(tmp_path)
    assert error.reason == "PICKLE_REFUSED"
    assert "torch.export.save" in error.message


def test_an_operator_of_somebody_else_is_named(tmp_path, program):
    def change(members: dict[str, bytes]) -> None:
        members["models/model.json"] = members["models/model.json"].replace(
            b"torch.ops.aten.relu.default", b"torch.ops.mine.relu.default"
        )

    write(tmp_path, changed(program, change))
    error = refusal(tmp_path)
    assert error.reason == "OPERATOR_UNSUPPORTED"
    assert error.metadata["field"] == "torch.ops.mine.relu.default"


@pytest.mark.parametrize("missing", ["byteorder", "models/model.json", "data/weights/weight_0"])
def test_a_program_without_a_part_is_unreadable(tmp_path, program, missing):
    write(tmp_path, changed(program, lambda members: members.pop(missing) and None))
    assert refusal(tmp_path).reason in {"SOURCE_UNREADABLE", "SOURCE_UNSUPPORTED"}


def test_weights_that_are_cut_short_are_unreadable(tmp_path, program):
    def change(members: dict[str, bytes]) -> None:
        members["data/weights/weight_0"] = members["data/weights/weight_0"][:4]

    write(tmp_path, changed(program, change))
    assert refusal(tmp_path).reason == "SOURCE_UNREADABLE"


def test_an_operator_set_that_does_not_exist_is_refused(tmp_path, program):
    write(tmp_path, program)
    assert refusal(tmp_path, opset=9).reason == "OPSET_INVALID"
    assert not (tmp_path / TARGET).exists()
