"""Which models of the hub are converted, and which of their files are read."""

from __future__ import annotations

import json
from typing import Any

import pytest

from servemesh.errors import InvalidError
from servemesh.optimizer.domain import hub_folders


def loader_of(**config: Any) -> str:
    return hub_folders.loader_of(hub_folders.checked_config(json.dumps(config).encode()))


@pytest.mark.parametrize(
    ("architecture", "loader"),
    [
        ("BertModel", "AutoModel"),
        ("DistilBertForSequenceClassification", "AutoModelForSequenceClassification"),
        ("RobertaForTokenClassification", "AutoModelForTokenClassification"),
        ("BertForQuestionAnswering", "AutoModelForQuestionAnswering"),
        ("ViTForImageClassification", "AutoModelForImageClassification"),
    ],
)
def test_the_last_words_of_an_architecture_say_what_reads_it(architecture, loader):
    assert loader_of(architectures=[architecture]) == loader


def test_a_model_that_names_no_architecture_gives_features():
    assert loader_of() == "AutoModel"


@pytest.mark.parametrize("architecture", ["LlamaForCausalLM", "T5ForConditionalGeneration", "Unheard"])
def test_what_is_no_encoder_is_told_so(architecture):
    with pytest.raises(InvalidError) as caught:
        loader_of(architectures=[architecture])
    assert (caught.value.reason, caught.value.metadata["field"]) == ("SOURCE_UNSUPPORTED", architecture)


def test_a_model_with_code_of_its_own_is_refused():
    with pytest.raises(InvalidError) as caught:
        loader_of(architectures=["BertModel"], auto_map={"AutoModel": "modeling.Mine"})
    assert caught.value.reason == "CODE_REFUSED"


def test_the_files_of_split_weights_are_named_once():
    index = {"weight_map": {"a": "2.safetensors", "b": "1.safetensors", "c": "2.safetensors"}}
    assert hub_folders.weight_files(json.dumps(index).encode()) == ["1.safetensors", "2.safetensors"]


@pytest.mark.parametrize(
    "path", ["../x.safetensors", "/etc/x.safetensors", "a\\\\b.safetensors", "weights.bin"]
)
def test_a_file_that_leads_out_of_the_folder_is_refused(path):
    with pytest.raises(InvalidError) as caught:
        hub_folders.weight_files(json.dumps({"weight_map": {"a": path}}).encode())
    assert caught.value.reason == "ARCHIVE_REFUSED"


@pytest.mark.parametrize("raw", [b"", b"[]", b"\xff"])
def test_what_is_no_configuration_is_unreadable(raw):
    with pytest.raises(InvalidError) as caught:
        hub_folders.checked_config(raw)
    assert caught.value.reason == "SOURCE_UNREADABLE"
