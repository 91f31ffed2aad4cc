"""What jobs found, as messages of the optimizer's API."""

from __future__ import annotations

from collections.abc import Iterable

from google.protobuf.struct_pb2 import Struct

from servemesh.api.optimizer.v1 import optimizer_pb2 as pb
from servemesh.optimizer.api.job_requests import FORMATS
from servemesh.optimizer.domain.results import (
    ConversionResult,
    Hardware,
    Interval,
    OptimizationResult,
    PassStep,
    SpeedReport,
    VariantReport,
)

FORMAT_NUMBERS = {text: number for number, text in FORMATS.items()}


def to_conversion_result(result: ConversionResult) -> pb.ConversionResult:
    """The message for a converted Version with its proof."""
    parity = result.parity
    return pb.ConversionResult(
        version=result.version,
        format=FORMAT_NUMBERS[result.format],
        parity=pb.Parity(
            row_count=parity.row_count,
            generated=parity.generated,
            max_abs=parity.max_abs,
            max_rel=parity.max_rel,
            argmax_agreement=parity.argmax_agreement,
        ),
        warnings=result.warnings,
        libraries=result.libraries,
    )


def to_result(result: OptimizationResult) -> pb.OptimizationResult:
    """The message for what was measured."""
    return pb.OptimizationResult(
        baseline=_to_variant(result.baseline) if result.baseline is not None else None,
        variants=[_to_variant(variant) for variant in result.variants],
        hardware=_to_hardware(result.hardware),
        libraries=result.libraries,
    )


def to_steps(steps: Iterable[PassStep]) -> list[pb.PassStep]:
    """The messages for steps."""
    return [_to_step(step) for step in steps]


def _to_step(step: PassStep) -> pb.PassStep:
    parameters = Struct()
    parameters.update(
        {name: list(value) if isinstance(value, tuple) else value for name, value in step.parameters.items()}
    )
    message = pb.PassStep(parameters=parameters)
    setattr(message, "pass", step.pass_id)  # its name is a word of Python
    return message


def _to_variant(variant: VariantReport) -> pb.VariantReport:
    return pb.VariantReport(
        version=variant.version,
        steps=to_steps(variant.steps),
        sha256=variant.sha256,
        accepted=variant.accepted,
        refusals=variant.refusals,
        pareto=variant.pareto,
        size_bytes=variant.size_bytes,
        size_ratio=variant.size_ratio,
        sparsity=variant.sparsity,
        metric=_to_interval(variant.metric),
        metric_loss=_to_interval(variant.metric_loss),
        metric_loss_chance=variant.metric_loss_chance,
        speeds=[_to_speed(speed) for speed in variant.speeds],
        cold_load_s=_to_interval(variant.cold_load_s),
        memory_bytes=variant.memory_bytes,
    )


def _to_speed(speed: SpeedReport) -> pb.SpeedReport:
    return pb.SpeedReport(
        batch_size=speed.batch_size, run_ms=_to_interval(speed.run_ms), speedup=_to_interval(speed.speedup)
    )


def _to_interval(interval: Interval | None) -> pb.Interval | None:
    if interval is None:
        return None
    return pb.Interval(value=interval.value, low=interval.low, high=interval.high)


def _to_hardware(hardware: Hardware) -> pb.Hardware:
    return pb.Hardware(
        processor=hardware.processor,
        processor_count=hardware.processor_count,
        memory_bytes=hardware.memory_bytes,
        accelerators=hardware.accelerators,
        provider=hardware.provider,
    )
