"""Which ONNX versions and operator domains the runtime of the workers can run."""

from __future__ import annotations

from servemesh.errors import InvalidError
from servemesh.registry.domain.onnx_models import ModelDescription

# Of onnxruntime 1.31, found by trying them all; tests hold them against the runtime that is installed.
RUNTIME = "onnxruntime 1.31"
IR_VERSION_MIN = 1
IR_VERSION_MAX = 13
OPSET_MAX = {"ai.onnx": 26, "ai.onnx.ml": 5, "com.microsoft": 1}
OPSET_GUARANTEED_MIN = 7

DOMAINS_KNOWN = frozenset(
    {
        "ai.onnx",
        "ai.onnx.ml",
        "ai.onnx.training",
        "ai.onnx.preview.training",
        "com.microsoft",
        "com.microsoft.nchwc",
        "com.microsoft.experimental",
    }
)


def check(model: ModelDescription) -> tuple[str, ...]:
    """Return warnings; InvalidError if the runtime could not open `model`."""
    _check_ir(model.ir_version)
    for domain, operator in model.operators.items():
        _check_domain(domain, operator)
        if domain not in model.opsets:
            raise InvalidError(
                f"the model uses operator {operator!r} of domain {domain!r} but does not say which version of that "
                "domain: export it again",
                reason="MODEL_INVALID",
                operator=operator,
                domain=domain,
            )
    for domain, version in model.opsets.items():
        _check_opset(domain, version)
    opset = model.opsets.get("ai.onnx", OPSET_GUARANTEED_MIN)
    if opset < OPSET_GUARANTEED_MIN:
        return (
            f"The model uses operator set {opset}; {RUNTIME} guarantees results from {OPSET_GUARANTEED_MIN} on: "
            "check its answers, or convert it with onnx.version_converter.",
        )
    return ()


def _check_ir(ir_version: int) -> None:
    if not IR_VERSION_MIN <= ir_version <= IR_VERSION_MAX:
        raise InvalidError(
            f"the model has ONNX IR version {ir_version}; {RUNTIME} reads {IR_VERSION_MIN} to {IR_VERSION_MAX}. "
            f"Export it with an older onnx package, or set model.ir_version = {IR_VERSION_MAX} and save it again",
            reason="IR_VERSION_UNSUPPORTED",
            expected=f"{IR_VERSION_MIN} to {IR_VERSION_MAX}",
            got=ir_version,
        )


def _check_opset(domain: str, version: int) -> None:
    newest = OPSET_MAX.get(domain)
    if version < 1 or (newest is not None and version > newest):
        raise InvalidError(
            f"the model uses operator set {version} of {domain}; {RUNTIME} supports 1 to {newest}. "
            f"Export it with opset_version={newest}, or convert it with onnx.version_converter",
            reason="OPSET_UNSUPPORTED",
            domain=domain,
            expected=f"1 to {newest}",
            got=version,
        )


def _check_domain(domain: str, operator: str) -> None:
    if domain not in DOMAINS_KNOWN:
        raise InvalidError(
            f"the model uses operator {operator!r} of domain {domain!r}, which needs a library of custom operators. "
            "Such a library is code and is never loaded here: export the model with standard ONNX operators only",
            reason="CUSTOM_OPERATOR",
            operator=operator,
            domain=domain,
        )
