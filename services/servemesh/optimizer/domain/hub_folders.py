"""A folder of the Hugging Face hub: which of its files are read, and which models are encoders that convert."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from servemesh.errors import InvalidError

WEIGHTS_INDEX = "model.safetensors.index.json"
# Written beside the model, so that callers find how its input ids are made.
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "vocab.txt",
    "merges.txt",
    "vocab.json",
    "spiece.model",
    "sentencepiece.bpe.model",
)
# Architectures by their last words: the class of transformers that reads them.
_HEADS: Mapping[str, str] = {
    "ForSequenceClassification": "AutoModelForSequenceClassification",
    "ForTokenClassification": "AutoModelForTokenClassification",
    "ForQuestionAnswering": "AutoModelForQuestionAnswering",
    "ForMaskedLM": "AutoModelForMaskedLM",
    "ForImageClassification": "AutoModelForImageClassification",
    "Model": "AutoModel",
}
# They carry a mask of their own or a decoder, which feature extraction does not need.
_GENERATING = ("ForCausalLM", "LMHeadModel", "ForConditionalGeneration", "ForSpeechSeq2Seq")


def checked_config(raw: bytes) -> dict[str, Any]:
    """Return config.json; InvalidError if the model needs Python of its own."""
    config = _parsed(raw, "config.json")
    for key in ("auto_map", "custom_pipelines"):
        if config.get(key):
            raise InvalidError(
                f"config.json has {key}: the model needs Python code that comes with it, which is never run here. Use "
                "an architecture that transformers has, or export the model with torch.export and convert the .pt2",
                reason="CODE_REFUSED",
                field=key,
            )
    return config


def loader_of(config: Mapping[str, Any]) -> str:
    """Return the name of the transformers class that reads the model; InvalidError for what is no encoder."""
    named = config.get("architectures") or ["Model"]
    architecture = str(named[0])
    if architecture.endswith(_GENERATING) or config.get("is_encoder_decoder"):
        raise InvalidError(
            f"{architecture[:100]} writes text token by token; what is converted are encoders: feature extraction, "
            "classification, question answering. Export the step that you need with torch.export and convert the .pt2",
            reason="SOURCE_UNSUPPORTED",
            field=architecture[:100],
        )
    for ending, loader in _HEADS.items():
        if architecture.endswith(ending):
            return loader
    raise InvalidError(
        f"{architecture[:100]} is not one of the architectures that are converted ({', '.join(_HEADS)}); export it "
        "with torch.export and convert the .pt2",
        reason="SOURCE_UNSUPPORTED",
        field=architecture[:100],
    )


def weight_files(raw: bytes) -> list[str]:
    """Return the files that the index of split weights names; InvalidError if one leads out of the folder."""
    files = sorted({str(path) for path in _parsed(raw, WEIGHTS_INDEX).get("weight_map", {}).values()})
    for path in files:
        if "/" in path or "\\" in path or not path.endswith(".safetensors"):
            raise InvalidError(
                f"{WEIGHTS_INDEX} names {path[:100]!r}, expected .safetensors files of the same folder",
                reason="ARCHIVE_REFUSED",
                field=path[:100],
            )
    return files


def _parsed(raw: bytes, name: str) -> dict[str, Any]:
    try:
        parsed = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise InvalidError(f"{name} is no JSON", reason="SOURCE_UNREADABLE", field=name) from error
    if not isinstance(parsed, dict):
        raise InvalidError(f"{name} is no JSON object", reason="SOURCE_UNREADABLE", field=name)
    return parsed
