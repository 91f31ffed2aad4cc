"""Says that it is well, to thousands: `python -m bench.scale.healthy PORT` stands in for all workers at once."""

from __future__ import annotations

import sys

from pygrpc_native import EVENT_CALL, NativeGrpcFront

SERVING = b"\x08\x01"  # HealthCheckResponse(status=SERVING)


def main() -> None:
    """Answer health checks until killed, on every address of this machine."""
    front = NativeGrpcFront(f"0.0.0.0:{sys.argv[1]}", [("/grpc.health.v1.Health/Check", False)])
    front.start()
    while (events := front.recv_batch(256)) is not None:
        for kind, call_id, _, _, _ in events:
            if kind == EVENT_CALL:
                front.respond(call_id, SERVING)


if __name__ == "__main__":
    main()
