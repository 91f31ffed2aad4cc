"""What the registry stands on: databases, brokers, child processes."""
