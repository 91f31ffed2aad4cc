"""Passes that compute or store in eight bits or fewer."""

from __future__ import annotations

from dataclasses import dataclass

from servemesh.optimizer.domain.passes.parameters import parameter
from servemesh.optimizer.domain.passes.spec import PassSpec

_REDUCE_RANGE = (
    "Whether weights use 7 of their 8 bits: auto does so where this processor's 8-bit products can overflow (x86 "
    "without VNNI)."
)
_REDUCE_RANGE_CHOICES = ("auto", "yes", "no")
_EXCLUDED = "Nodes to leave as they are, by name."
_SENSITIVE = (
    "How many nodes stay as they are: those that suffer most, measured on the rows one node at a time."
)
_SQNR = (
    "Nodes stay as they are whose quantisation alone leaves less signal over noise than this at the outputs, in dB; "
    "0: none."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Int8DynamicParameters:
    """Parameters of int8_dynamic."""

    op_types: tuple[str, ...] = parameter(
        ("Attention", "EmbedLayerNormalization", "Gather", "Gemm", "LSTM", "MatMul"),
        doc="Operators that are quantised. Conv is possible and slow.",
        choices=("Attention", "Conv", "EmbedLayerNormalization", "Gather", "Gemm", "LSTM", "MatMul"),
    )
    per_channel: bool = parameter(True, doc="Whether each output channel of a weight has a scale of its own.")
    symmetric_weights: bool = parameter(True, doc="Whether the zero of weights is the zero of the integers.")
    reduce_range: str = parameter("auto", doc=_REDUCE_RANGE, choices=_REDUCE_RANGE_CHOICES)
    nodes_excluded: tuple[str, ...] = parameter((), doc=_EXCLUDED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Int8StaticParameters:
    """Parameters of int8_static."""

    calibration: str = parameter(
        "minmax",
        doc="How ranges of activations are found: their ends; their ends averaged over batches; the ends that lose "
        "least information; or the middle share of all values.",
        choices=("minmax", "moving_average", "entropy", "percentile"),
    )
    percentile: float = parameter(
        99.99, doc="Share of values inside the range, in per cent.", least=90, most=100
    )
    rows_max: int = parameter(256, doc="Calibration rows that are used.", least=1, most=65_536)
    rows_min: int = parameter(16, doc="Calibration rows without which it is refused.", least=1, most=65_536)
    format: str = parameter(
        "qdq",
        doc="How it is written: qdq in pairs of standard operators, qoperator in fewer nodes of quantised operators.",
        choices=("qdq", "qoperator"),
    )
    activation_type: str = parameter("uint8", doc="Datatype of activations.", choices=("uint8", "int8"))
    symmetric_activations: bool = parameter(
        False, doc="Whether the zero of activations is the middle of the integers."
    )
    per_channel: bool = parameter(True, doc="Whether each output channel of a weight has a scale of its own.")
    symmetric_weights: bool = parameter(True, doc="Whether the zero of weights is the zero of the integers.")
    reduce_range: str = parameter("auto", doc=_REDUCE_RANGE, choices=_REDUCE_RANGE_CHOICES)
    op_types: tuple[str, ...] = parameter(
        (),
        doc="Operators that are quantised; none given means all that can be, but where there is attention only Gemm "
        "and MatMul with weights.",
    )
    op_types_excluded: tuple[str, ...] = parameter((), doc="Operators to leave as they are.")
    nodes_excluded: tuple[str, ...] = parameter((), doc=_EXCLUDED)
    sensitive_excluded: int = parameter(0, doc=_SENSITIVE, least=0, most=10_000)
    sqnr_db_min: float = parameter(0.0, doc=_SQNR, least=0, most=200)


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightOnlyParameters:
    """Parameters of weight_only."""

    bits: int = parameter(4, doc="Bits of a weight, 4 or 8.", least=4, most=8)
    op_types: tuple[str, ...] = parameter(
        ("Gemm", "MatMul"),
        doc="Operators whose weights are stored so; Gather looks up embeddings.",
        choices=("Gather", "Gemm", "MatMul"),
    )
    block_size: int = parameter(32, doc="Weights that share a scale: a power of two.", least=16, most=256)
    symmetric: bool = parameter(True, doc="Whether the zero of weights is the middle of the integers.")
    accuracy_level: int = parameter(
        4,
        doc="What is computed in: 0 as the weights were, 1 float32, 4 int8, which is fastest on processors with VNNI.",
        least=0,
        most=4,
    )
    nodes_excluded: tuple[str, ...] = parameter((), doc=_EXCLUDED)


QUANTIZING_PASSES: tuple[PassSpec, ...] = (
    PassSpec(
        pass_id="int8_dynamic",
        description="Stores weights as int8 and quantises activations while the model runs: a quarter of the size, no "
        "data needed. Faster on transformers and multilayer perceptrons where the processor multiplies int8 fast.",
        origin="onnxruntime.quantization.quantize_dynamic",
        parameters=Int8DynamicParameters,
        applies_to="neural networks with matrix products by constants",
    ),
    PassSpec(
        pass_id="int8_static",
        description="Stores weights as int8 and computes in int8 with ranges of activations found on calibration "
        "rows: a quarter of the size, fastest on convolutions where the processor multiplies int8 fast.",
        origin="onnxruntime.quantization.quantize_static; Jacob et al. 2018, Quantization and training of neural "
        "networks for efficient integer-arithmetic-only inference",
        parameters=Int8StaticParameters,
        calibrates=True,
        applies_to="neural networks",
    ),
    PassSpec(
        pass_id="weight_only",
        description="Stores the weights of matrix products as int4 or int8 with a scale per block, and keeps "
        "activations as they are: an eighth or a quarter of the size. Faster where reading weights from memory is what "
        "takes the time, as in language models one token at a time.",
        origin="onnxruntime.quantization.matmul_nbits_quantizer, rounding to nearest",
        parameters=WeightOnlyParameters,
        applies_to="neural networks with matrix products by constants",
    ),
)
