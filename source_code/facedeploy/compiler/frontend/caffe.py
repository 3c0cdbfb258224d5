"""Caffe -> ONNX, such that the model may be had at all shapes of a ladder."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from facedeploy.core.errors import CompileError
from facedeploy.importers.caffe.to_onnx import import_caffe

Shape = tuple[int, int, int, int]


def caffe_to_onnx(prototxt: Path, caffemodel: Path, shapes: Sequence[Shape]) -> Any:
    """The onnx.ModelProto at the first of the shapes (NCHW).

    Raises what `import_caffe` raises; CompileError where another shape is not had by the same nodes, since the net
    crops, or pads what it pools, as its sizes need it.
    """
    model, *others = (import_caffe(prototxt, caffemodel, shape) for shape in shapes)
    for shape, other in zip(shapes[1:], others, strict=True):
        if list(other.graph.node) != list(model.graph.node):
            raise CompileError(
                f"frontend.ladder: {prototxt} crops or pads otherwise at {list(shape)} than at {list(shapes[0])}: "
                "leave that shape out, or compile it as an artifact of its own"
            )
    return model
