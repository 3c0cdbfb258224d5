"""Net and weights -> TorchScript and ONNX; an export is finished only when parity with the eager net is measured."""
