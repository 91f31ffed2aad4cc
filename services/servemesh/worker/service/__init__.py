"""What a worker does: inference, batching, and keeping the right Versions resident."""
