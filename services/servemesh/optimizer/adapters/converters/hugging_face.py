"""Folders of the Hugging Face hub with safetensors: encoders, read by transformers without network and without code."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
import transformers

from servemesh.errors import InvalidError
from servemesh.optimizer.adapters.converters import faults, naming, torch_onnx
from servemesh.optimizer.adapters.converters.converted import Array, Converted, Inputs, Task, versions
from servemesh.optimizer.domain import hub_folders

CONFIG_BYTES_MAX = 4 * 1024**2
EXAMPLE_ROWS, EXAMPLE_TOKENS = 2, 8
TOKENS_GENERATED = (4, 24)  # least and most
OUTPUTS = ("last_hidden_state", "logits", "start_logits", "end_logits")
ADVICE = "export it with torch.export yourself and convert the .pt2"


class _Flat(torch.nn.Module):
    """A model of transformers that takes tensors by position and returns those that are kept."""

    def __init__(self, model: Any, inputs: Sequence[str], outputs: Sequence[str]) -> None:
        super().__init__()
        self.model, self.inputs, self.outputs = model, list(inputs), list(outputs)

    def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        answer = self.model(**dict(zip(self.inputs, tensors, strict=True)), return_dict=True)
        return tuple(answer[name] for name in self.outputs)


def convert(task: Task) -> Converted:
    """Satisfies converted.Converter."""
    config = hub_folders.checked_config(_read(task.source / "config.json"))
    model = _loaded(_clean_copy(task), hub_folders.loader_of(config))
    task.report.progress(0.2, f"exporting {type(model).__name__}")
    examples = _examples(model)
    with torch.no_grad():
        answer = model(**examples, return_dict=True)
    names = [name for name in OUTPUTS if answer.get(name) is not None]
    if not names:
        raise InvalidError(
            f"{type(model).__name__} returns none of {', '.join(OUTPUTS)}",
            reason="SOURCE_UNSUPPORTED",
            field=type(model).__name__,
        )
    _keep_tokenizer(task)
    _export(_Flat(model, list(examples), names).eval(), examples, names, task)
    return Converted(
        reference=_reference(model, names),
        generated=_generated(model, list(examples)),
        warnings=_warnings(task, config),
        libraries=versions("torch", "onnxscript", "transformers", "safetensors"),
    )


def _clean_copy(task: Task) -> Path:
    """A folder with the files that are read and nothing else: no code, no pickles, no settings of generation."""
    folder = task.folder / "hub"
    folder.mkdir()
    index = task.source / hub_folders.WEIGHTS_INDEX
    weights = hub_folders.weight_files(_read(index)) if index.exists() else ["model.safetensors"]
    names = ["config.json", *weights, *([hub_folders.WEIGHTS_INDEX] if index.exists() else [])]
    for name in names:
        if not (task.source / name).is_file():
            raise InvalidError(
                f"{name} is missing: save the model again with save_pretrained(folder, safe_serialization=True)",
                reason="SOURCE_UNREADABLE",
                field=name,
            )
        (folder / name).symlink_to((task.source / name).absolute())
    return folder


def _loaded(folder: Path, loader: str) -> Any:
    transformers.utils.logging.set_verbosity_error()
    options = {"local_files_only": True, "trust_remote_code": False}
    try:
        return (
            getattr(transformers, loader)
            .from_pretrained(
                folder, use_safetensors=True, dtype=torch.float32, attn_implementation="eager", **options
            )
            .eval()
        )
    except Exception as error:  # transformers raises whatever the folder makes it meet
        raise InvalidError(
            f"transformers {transformers.__version__} cannot read the folder ({faults.shown(error)}): save the model "
            "again with save_pretrained(folder, safe_serialization=True)",
            reason="SOURCE_UNREADABLE",
        ) from error


def _examples(model: Any) -> dict[str, torch.Tensor]:
    """Inputs by the names that the model's forward takes: token ids and masks, or pixels."""
    if model.main_input_name == "pixel_values":
        size = getattr(model.config, "image_size", 224)
        height, width = (size, size) if isinstance(size, int) else size
        channels = getattr(model.config, "num_channels", 3)
        return {"pixel_values": torch.zeros(EXAMPLE_ROWS, channels, height, width)}
    shape = (EXAMPLE_ROWS, EXAMPLE_TOKENS)
    examples = {
        "input_ids": torch.zeros(shape, dtype=torch.int64),
        "attention_mask": torch.ones(shape, dtype=torch.int64),
    }
    if getattr(model.config, "type_vocab_size", 0) > 1:
        examples["token_type_ids"] = torch.zeros(shape, dtype=torch.int64)
    return examples


def _export(flat: _Flat, examples: dict[str, torch.Tensor], names: Sequence[str], task: Task) -> None:
    batch = torch.export.Dim("batch", min=1)
    tokens = torch.export.Dim("sequence", min=2, max=_tokens_max(flat.model))
    free = {0: batch} if "pixel_values" in examples else {0: batch, 1: tokens}
    try:
        with torch.no_grad():
            program = torch.export.export(
                flat,
                tuple(examples.values()),
                dynamic_shapes={"tensors": tuple(dict(free) for _ in examples)},
            )
    except Exception as error:  # torch raises whatever the model's code makes it meet
        raise faults.unsupported(error, "transformers", ADVICE) from error
    torch_onnx.write(program, task.target, task.opset)
    model = onnx.load(task.target, load_external_data=False)
    naming.rename(model, list(examples), names)
    if len(free) > 1:
        naming.name_size(model, model.graph.input[0].type.tensor_type.shape.dim[1].dim_param, "sequence")
    onnx.save(model, task.target)


def _tokens_max(model: Any) -> int:
    return int(getattr(model.config, "max_position_embeddings", 512) or 512)


def _reference(model: Any, names: Sequence[str]) -> Any:
    def run(batches: Sequence[Inputs]) -> Iterable[dict[str, Array]]:
        for batch in batches:
            tensors = {name: torch.from_numpy(np.array(array)) for name, array in batch.items()}
            with torch.no_grad():
                answer = model(**tensors, return_dict=True)
            yield {name: answer[name].numpy() for name in names}

    return run


def _generated(model: Any, inputs: Sequence[str]) -> Any:
    """Token ids of the vocabulary, with rows of different lengths; pixels without a pattern."""

    def draw(random: np.random.Generator, row_count: int) -> dict[str, Array]:
        if "pixel_values" in inputs:
            shape = [row_count, *_examples(model)["pixel_values"].shape[1:]]
            return {"pixel_values": random.standard_normal(shape).astype(np.float32)}
        least, most = TOKENS_GENERATED
        width = int(random.integers(least, min(most, _tokens_max(model) - 2)))
        lengths = random.integers(1, width + 1, (row_count, 1))
        mask = (np.arange(width)[None] < lengths).astype(np.int64)
        ids = random.integers(0, model.config.vocab_size, (row_count, width)) * mask
        drawn = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        return {name: drawn[name] for name in inputs}

    return draw


def _warnings(task: Task, config: dict[str, Any]) -> tuple[str, ...]:
    warnings = []
    stored = str(config.get("dtype") or config.get("torch_dtype") or "float32")
    if stored != "float32":
        warnings.append(
            f"The weights are {stored} and were converted as float32; the pass fp16 makes them small."
        )
    if (task.source / "modules.json").exists():
        warnings.append(
            "This is a sentence-transformers folder: the model gives vectors per token, pooling and normalising are "
            "left to the caller."
        )
    return tuple(warnings)


def _keep_tokenizer(task: Task) -> None:
    for name in hub_folders.TOKENIZER_FILES:
        if (task.source / name).is_file():
            shutil.copyfile(task.source / name, task.target.with_name(name))


def _read(path: Path) -> bytes:
    if path.stat().st_size > CONFIG_BYTES_MAX:
        raise InvalidError(f"{path.name} is too large", reason="SOURCE_UNREADABLE", field=path.name)
    return path.read_bytes()
