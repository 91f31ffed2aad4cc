"""Passes that rewrite the graph or the numbers in it without looking at data."""

from __future__ import annotations

from dataclasses import dataclass

from servemesh.optimizer.domain.passes.parameters import parameter
from servemesh.optimizer.domain.passes.spec import PassSpec

_LISTED = ("numpy", "onnx", "onnxruntime")


@dataclass(frozen=True, slots=True, kw_only=True)
class SimplifyParameters:
    """Parameters of simplify."""

    tolerance: float = parameter(
        1e-4,
        doc="Greatest difference of an output from before, relative to its largest value.",
        least=0,
        most=1,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class FuseParameters:
    """Parameters of fuse."""

    level: str = parameter(
        "extended",
        doc="How far onnxruntime rewrites: basic keeps standard operators, extended adds fused operators of its own, "
        "all also lays out memory for the processor that it ran on.",
        choices=("basic", "extended", "all"),
    )
    transformer: bool = parameter(True, doc="Whether to look for attention and its kin and fuse them.")
    heads: int = parameter(
        0, doc="Attention heads of a transformer; 0 finds them in the graph.", least=0, most=1024
    )
    hidden_size: int = parameter(
        0, doc="Width of a transformer; 0 finds it in the graph.", least=0, most=1_000_000
    )
    tolerance: float = parameter(
        1e-3,
        doc="Greatest difference of an output from before, relative to its largest value.",
        least=0,
        most=1,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Fp16Parameters:
    """Parameters of fp16."""

    compute: str = parameter(
        "float16",
        doc="What is computed in. float16 is fast where the hardware has it (GPUs); float32 only stores the weights "
        "as float16, which halves the file and costs no speed anywhere.",
        choices=("float16", "float32"),
    )
    op_types_excluded: tuple[str, ...] = parameter(
        (), doc="Operators to leave as they are, on top of those that float16 is known to break."
    )
    nodes_excluded: tuple[str, ...] = parameter((), doc="Nodes to leave as they are, by name.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bf16Parameters:
    """Parameters of bf16."""

    compute: str = parameter(
        "float32",
        doc="What is computed in. float32 only stores the weights as bfloat16, which halves the file and costs no "
        "speed; bfloat16 needs a runtime that has it for every operator of the model.",
        choices=("float32", "bfloat16"),
    )
    nodes_excluded: tuple[str, ...] = parameter((), doc="Nodes to leave as they are, by name.")


@dataclass(frozen=True, slots=True, kw_only=True)
class PruneMagnitudeParameters:
    """Parameters of prune_magnitude."""

    sparsity: float = parameter(
        0.5,
        doc="Share of all weights that become zero; not read where pattern_n is given.",
        least=0,
        most=0.99,
    )
    pattern_n: int = parameter(
        0,
        doc="N of N:M: of each M weights in a row along the reduction axis, N stay. 0: no pattern.",
        least=0,
        most=64,
    )
    pattern_m: int = parameter(4, doc="M of N:M.", least=2, most=64)
    nodes_excluded: tuple[str, ...] = parameter((), doc="Nodes to leave as they are, by name.")
    op_types: tuple[str, ...] = parameter(
        ("Conv", "ConvTranspose", "Gemm", "MatMul"),
        doc="Operators whose weights are pruned.",
        choices=("Conv", "ConvTranspose", "Gemm", "MatMul"),
    )


GRAPH_PASSES: tuple[PassSpec, ...] = (
    PassSpec(
        pass_id="simplify",
        description="Folds what is constant, removes what does nothing, merges what is the same. Every output stays "
        "the same number, within rounding. Helps most with exports that compute shapes in the graph.",
        origin="onnxslim (https://github.com/inisis/OnnxSlim)",
        parameters=SimplifyParameters,
        applies_to="any model",
        libraries=(*_LISTED, "onnxslim"),
    ),
    PassSpec(
        pass_id="fuse",
        description="Runs the optimisers that onnxruntime has for graphs and for transformers once and saves what they "
        "made, so that a model loads faster, and runs faster where attention is found that loading does not fuse. "
        "Every output stays the same number, within rounding.",
        origin="onnxruntime graph optimisations and onnxruntime.transformers",
        parameters=FuseParameters,
        applies_to="neural networks",
    ),
    PassSpec(
        pass_id="fp16",
        description="Turns 32-bit weights into float16: half the size. Inputs and outputs stay as they are. Values "
        "beyond 65,504 are clipped. Processors without float16 arithmetic compute more slowly; compute=float32 then "
        "keeps the speed.",
        origin="onnxruntime.transformers.float16; Micikevicius et al. 2018, Mixed precision training",
        parameters=Fp16Parameters,
        applies_to="neural networks",
    ),
    PassSpec(
        pass_id="bf16",
        description="Turns 32-bit weights into bfloat16: half the size, the range of float32, three significant digits "
        "less. Inputs and outputs stay as they are.",
        origin="Kalamkar et al. 2019, A study of BFLOAT16 for deep learning training",
        parameters=Bf16Parameters,
        applies_to="neural networks",
    ),
    PassSpec(
        pass_id="prune_magnitude",
        description="Sets the smallest weights to zero, over the whole model or N of each M. The file gets no smaller "
        "and a runtime for dense matrices no faster: it is a step before fine-tuning, compression of the file, or "
        "hardware for sparse matrices.",
        origin="Han et al. 2015, Learning both weights and connections; Mishra et al. 2021 for N:M",
        parameters=PruneMagnitudeParameters,
        applies_to="neural networks",
    ),
)
