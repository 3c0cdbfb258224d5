"""A float ONNX model and calibration images -> the same model with its quantization written into it, as QDQ."""
