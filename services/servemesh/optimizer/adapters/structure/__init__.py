"""Surgery on ONNX graphs: what belongs together, what matters least, and how it is taken out."""
