"""Programs of other frameworks made into ONNX, one file per framework; each runs in a child process."""
