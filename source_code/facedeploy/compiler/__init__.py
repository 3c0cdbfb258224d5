"""ONNX -> Relax -> executable."""
