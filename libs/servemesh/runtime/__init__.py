"""ONNX models on onnxruntime as the worker runs them: sessions, values and what their errors say."""
