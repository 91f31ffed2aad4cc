"""ONNX graphs as torch modules: read, trained, and written back under the same names."""
