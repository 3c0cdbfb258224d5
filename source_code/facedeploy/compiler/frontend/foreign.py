"""A net and a file of its parameters -> ONNX, such that the model may be had at all shapes of a ladder."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from facedeploy.core.errors import CompileError

Shape = tuple[int, int, int, int]


def foreign_to_onnx(
    importer: Callable[[Path, Path, Shape], Any], net: Path, params: Path, shapes: Sequence[Shape]
) -> Any:
    """The onnx.ModelProto at the first of the shapes (NCHW), by `import_caffe` or `import_mxnet`.

    Raises what these raise; CompileError where another shape is not had by the same nodes, since the net crops, or pads
    what it pools, as its sizes need it.
    """
    model, *others = (importer(net, params, shape) for shape in shapes)
    for shape, other in zip(shapes[1:], others, strict=True):
        if list(other.graph.node) != list(model.graph.node):
            raise CompileError(
                f"frontend.ladder: {net} crops or pads otherwise at {list(shape)} than at {list(shapes[0])}: "
                "leave that shape out, or compile it as an artifact of its own"
            )
    return model
