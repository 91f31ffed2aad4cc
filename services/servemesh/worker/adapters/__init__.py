"""What a worker uses: the runtime, the disk, the registry and the bus."""
