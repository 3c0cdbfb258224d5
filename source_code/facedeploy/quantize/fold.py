"""What becomes part of convolutions before a model is quantized."""

from typing import Any

from facedeploy.quantize.fold_batch_norm import fold_batch_norm
from facedeploy.quantize.fold_scaling import fold_scaling


def fold(model: Any) -> Any:
    """A copy of a float onnx.ModelProto that computes the same, whose tensors are those that may become integers.

    Ensures: the convolutions keep their order. Whoever finds ranges or reads them starts from it, so that they agree.
    """
    return fold_scaling(fold_batch_norm(model))
