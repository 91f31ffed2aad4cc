"""The passes at work: each module rewrites one ONNX model into another with the same inputs and outputs."""
