"""What the gateway knows and decides, in plain Python."""
