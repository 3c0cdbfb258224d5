"""A net and a file of its parameters -> ONNX, such that the model may be had at all shapes of a ladder."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from facedeploy.core.errors import CompileError

Shape = tuple[int, int, int, int]


def foreign_to_onnx(importer: Callable[[Shape], Any], net: Path, shapes: Sequence[Shape]) -> Any:
    """The onnx.ModelProto at the first of the shapes (NCHW), by what imports `net` at one.

    Raises what that raises; CompileError where another shape is not had by the same nodes, since the net crops, or pads
    what it pools, as its sizes need it.
    """
    model, *others = map(importer, shapes)
    for shape, other in zip(shapes[1:], others, strict=True):
        if list(other.graph.node) != list(model.graph.node):
            raise CompileError(
                f"frontend.ladder: {net} crops or pads otherwise at {list(shape)} than at {list(shapes[0])}: "
                "leave that shape out, or compile it as an artifact of its own"
            )
    return model
