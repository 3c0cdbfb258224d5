"""Foreign checkpoints (MXNet symbol and params, Caffe) become ONNX."""
