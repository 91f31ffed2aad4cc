"""What is measured: which request, under which load, at which servers."""

from __future__ import annotations

from dataclasses import dataclass, replace

from bench.load import Load

MLP, VAD, SHORT, LONG, IMAGE = (
    "tiny MLP",
    "silero-vad",
    "MiniLM, 16 tokens",
    "MiniLM, 128 tokens",
    "600 KB image",
)
WORKER, MESH, TRITON, MLSERVER, RAW, NGINX = "worker", "mesh", "Triton", "MLServer", "onnxruntime", "nginx"
SERVERS = (WORKER, MESH, TRITON, MLSERVER)
STREAMING = (WORKER, MESH, TRITON)
ROUNDS, QUICK_ROUNDS = 5, 2
QUICK_SECONDS_MAX = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One request under one load, at several targets in turn."""

    request: str
    load: Load
    targets: tuple[str, ...] = SERVERS


def cells() -> list[Cell]:
    """Return everything that `make bench` measures."""
    return [
        *(_closed(MLP, in_flight, 1.0) for in_flight in (1, 4, 16, 64)),
        *(_closed(VAD, in_flight, 1.0) for in_flight in (1, 4, 16, 64)),
        *(_closed(IMAGE, in_flight, 1.0, NGINX) for in_flight in (1, 4, 16, 64)),
        *(_closed(SHORT, in_flight, 2.0) for in_flight in (1, 4, 16, 64)),
        # A batch of 16 takes most of a second, so that a fair count takes several.
        *(_closed(LONG, in_flight, 4.0) for in_flight in (1, 16)),
        *(_streams(MLP, in_flight, 1.0) for in_flight in (1, 16, 64)),
        _streams(SHORT, 16, 2.0),
        *(_open(MLP, rate, 1.0) for rate in (500.0, 1500.0)),
        _open(VAD, 500.0, 1.0),
        _open(SHORT, 40.0, 2.0),
        _open(IMAGE, 100.0, 1.0),
    ]


def quick_cells() -> list[Cell]:
    """Return what `make bench QUICK=1` measures: what the marks need, in short."""
    wanted = {(MLP, 1), (MLP, 16), (MLP, 64), (SHORT, 16), (IMAGE, 16)}
    chosen = [cell for cell in cells() if (cell.request, cell.load.in_flight) in wanted]
    return [
        replace(cell, load=replace(cell.load, seconds=min(cell.load.seconds, QUICK_SECONDS_MAX)))
        for cell in chosen
        if not cell.load.streams or cell.load.in_flight == 16
    ]


def _closed(request: str, in_flight: int, seconds: float, *more: str) -> Cell:
    raw = (RAW,) if in_flight == 16 else ()
    load = Load(in_flight=in_flight, seconds=seconds, warmup_s=seconds / 4)
    return Cell(request=request, load=load, targets=(*SERVERS, *raw, *more))


def _streams(request: str, in_flight: int, seconds: float) -> Cell:
    load = Load(in_flight=in_flight, seconds=seconds, warmup_s=seconds / 4, streams=True)
    return Cell(request=request, load=load, targets=STREAMING)


def _open(request: str, rate: float, seconds: float) -> Cell:
    return Cell(request=request, load=Load(rate=rate, seconds=seconds, warmup_s=seconds / 4))
