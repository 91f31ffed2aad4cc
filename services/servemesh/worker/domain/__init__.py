"""What a worker decides, as plain values and functions: batches, validation, residency."""
