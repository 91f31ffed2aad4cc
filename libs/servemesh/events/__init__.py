"""Facts and nudges between processes: ports, the NATS adapter and the one in memory."""
