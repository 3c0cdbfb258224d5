"""ONNX's Resize by ONNX's own arithmetic, which decides which pixel is nearest where two are equally near."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

Shapes = Mapping[str, tuple[int, ...]]
Floats = npt.NDArray[np.float32]

HALF = np.float32(0.5)
DEFAULTS = {"mode": "nearest", "coordinate_transformation_mode": "half_pixel", "nearest_mode": "round_prefer_floor"}
# Pixel of the output, scale, sides of input and output -> place in the input, px.
PLACES: dict[str, Callable[[Floats, np.float32, int, int], Any]] = {
    "asymmetric": lambda i, scale, _, __: i / scale,
    "half_pixel": lambda i, scale, _, __: (i + HALF) / scale - HALF,
    "pytorch_half_pixel": lambda i, scale, _, out: (i + HALF) / scale - HALF if out > 1 else i * 0,
    "align_corners": lambda i, _, side, out: i * np.float32(side - 1) / np.float32(out - 1) if out > 1 else i * 0,
}
ROUNDINGS: dict[str, Callable[[Floats], Floats]] = {
    "floor": np.floor,
    "ceil": np.ceil,
    "round_prefer_floor": lambda x: np.ceil(x - HALF),
    "round_prefer_ceil": lambda x: np.floor(x + HALF),
}


def resize_nodes(
    node: Any, attributes: Mapping[str, Any], graph: Any, constants: Mapping[str, Any], shapes: Shapes
) -> list[Any]:
    """A Resize to nearest pixels as one that repeats pixels, or else as two that pick them.

    A linear one that TVM would sample elsewhere (by the sizes where the scale is another; not at all to one pixel
    between aligned corners) becomes two matrix products; any other stays as it is.
    """
    import onnx

    mode, how, rounding = (bytes(attributes.get(key, default.encode())).decode() for key, default in DEFAULTS.items())
    source, output = node.input[0], node.output[0]
    known = source in shapes and output in shapes and len(shapes[source]) == 4 and how in PLACES
    if not known or shapes[source][:2] != shapes[output][:2] or attributes.get("axes"):
        return [node]
    sides, outs = shapes[source][2:], shapes[output][2:]
    scales = [np.float32(out) / np.float32(side) for out, side in zip(outs, sides, strict=True)]
    if len(node.input) > 2 and node.input[2] in constants:
        scales = list(onnx.numpy_helper.to_array(constants[node.input[2]])[2:])
    names = [f"{output}.rows", f"{output}.columns"]

    def places() -> list[Floats]:
        return [
            PLACES[how](np.arange(out, dtype=np.float32), scale, side, out)
            for side, out, scale in zip(sides, outs, scales, strict=True)
        ]

    drift = max(abs(side * float(scale) - out) for side, out, scale in zip(sides, outs, scales, strict=True))
    if mode == "linear" and (1 in outs if how == "align_corners" else drift > 1e-3):
        down, across = (_interpolation(place, side) for place, side in zip(places(), sides, strict=True))
        for name, matrix in zip(names, (down, across.T), strict=True):
            graph.initializer.append(onnx.numpy_helper.from_array(np.ascontiguousarray(matrix), name))
        wide = f"{output}.wide"
        return [
            onnx.helper.make_node("MatMul", [source, names[1]], [wide]),
            onnx.helper.make_node("MatMul", [names[0], wide], [output], node.name),
        ]
    if mode != "nearest" or rounding not in ROUNDINGS:
        return [node]
    picked = [np.clip(ROUNDINGS[rounding](place), 0, side - 1) for place, side in zip(places(), sides, strict=True)]
    if all(
        out % side == 0 and np.array_equal(place, np.arange(out) // (out // side))
        for place, side, out in zip(picked, sides, outs, strict=True)
    ):
        plain = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
        return [onnx.helper.make_node("Resize", list(node.input), [output], node.name, **plain)]
    for name, place in zip(names, picked, strict=True):
        graph.initializer.append(onnx.numpy_helper.from_array(place.astype(np.int64), name))
    rows = f"{output}.picked"
    return [
        onnx.helper.make_node("Gather", [source, names[0]], [rows], axis=2),
        onnx.helper.make_node("Gather", [rows, names[1]], [output], node.name, axis=3),
    ]


def settle_scales(node: Any, graph: Any, constants: Mapping[str, Any], shape: tuple[int, ...]) -> bool:
    """Nudge the scales of a Resize of `shape` so that they give, exactly multiplied, the sizes that float32 gives.

    7 pixels by the float32 below 13/7 are 13 by onnxruntime, whose product is float32, and 12 by onnx's own inference
    of shapes. Returns whether the scales changed: by as few floats as it takes, too little to move a sample.
    """
    import onnx

    if len(node.input) < 3 or node.input[2] not in constants:
        return False
    scales = onnx.numpy_helper.to_array(constants[node.input[2]]).copy()
    if len(scales) != len(shape):
        return False  # None are given, or those of some axes alone.
    sides = np.array(shape)
    sizes = np.floor(sides.astype(np.float32) * scales)
    if np.array_equal(np.floor(sides * scales.astype(np.float64)), sizes):
        return False
    while (short := np.floor(sides * scales.astype(np.float64)) < sizes).any():
        scales = np.where(short, np.nextafter(scales, np.float32(np.inf)), scales)
    name = f"{node.output[0]}.settled_scales"
    graph.initializer.append(onnx.numpy_helper.from_array(scales, name))
    node.input[2] = name
    return True


def _interpolation(place: Floats, side: int) -> Floats:
    """The matrix (len(place), side) that takes a row of pixels to what is between them at `place`, px."""
    inside = np.clip(place, 0, side - 1)
    below = np.floor(inside).astype(np.int64)
    matrix = np.zeros((len(place), side), np.float32)
    rows = np.arange(len(place))
    matrix[rows, below] = 1 - (inside - below)
    matrix[rows, np.minimum(below + 1, side - 1)] += inside - below
    return matrix
