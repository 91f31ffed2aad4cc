"""Hugging Face folders with safetensors become encoders that take any number of rows and tokens."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import transformers

from tests.harness.conversions import TARGET, converted, outputs_of, refusal, shapes_of, source_of
from tests.harness.hostile_files import PICKLE

SIZES = {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "vocab_size": 50,
    "max_position_embeddings": 40,
}


def a_folder(folder: Path) -> Path:
    """A tiny encoder as save_pretrained writes it."""
    transformers.set_seed(0)
    transformers.BertModel(transformers.BertConfig(**SIZES)).save_pretrained(source_of(folder))
    (source_of(folder) / "tokenizer.json").write_text("{}")
    return source_of(folder)


def change_config(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def tokens(rows: int, width: int) -> dict[str, Any]:
    ids = np.arange(rows * width, dtype=np.int64).reshape(rows, width) % 50
    return {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}


def test_an_encoder_gives_vectors_for_any_number_of_rows_and_tokens(tmp_path):
    folder = a_folder(tmp_path)
    (folder / "training_args.bin").write_bytes(PICKLE)
    result = converted(tmp_path)
    assert result["format"] == "hugging_face"
    assert result["parity"]["max_rel"] <= 1e-4
    assert result["files"] == ["tokenizer.json"]
    assert (tmp_path / TARGET).with_name("tokenizer.json").exists()
    assert result["warnings"] == ["training_args.bin is a pickle; it was not opened."]
    assert shapes_of(tmp_path)["input_ids"] == ["batch", "sequence"]
    for rows, width in ((1, 3), (5, 17), (2, 40)):
        made = outputs_of(tmp_path, **tokens(rows, width))
        assert made["last_hidden_state"].shape == (rows, width, 16)


def test_a_model_with_code_of_its_own_is_refused(tmp_path):
    change_config(a_folder(tmp_path), auto_map={"AutoModel": "modeling.Mine"})
    assert refusal(tmp_path).reason == "CODE_REFUSED"


def test_an_index_that_leads_out_of_the_folder_is_refused(tmp_path):
    folder = a_folder(tmp_path)
    (folder / "model.safetensors.index.json").write_text('{"weight_map": {"a": "../../x.safetensors"}}')
    assert refusal(tmp_path).reason == "ARCHIVE_REFUSED"


def test_weights_that_do_not_fit_the_configuration_are_unreadable(tmp_path):
    change_config(a_folder(tmp_path), hidden_size=32)
    assert refusal(tmp_path).reason == "SOURCE_UNREADABLE"
