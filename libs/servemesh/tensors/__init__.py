"""Tensors of the Open Inference Protocol as numpy arrays and back: raw bytes, typed contents, datatypes."""
