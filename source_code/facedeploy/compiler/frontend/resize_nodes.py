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
    """A Resize to nearest pixels as one that repeats pixels, or else as two that pick them; any other as it is.

    Raises ValueError for a linear one whose scale is not its output's size by its input's: TVM samples by the sizes.
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
    if mode == "linear" and how != "align_corners":
        for side, out, scale in zip(sides, outs, scales, strict=True):
            if abs(side * float(scale) - out) > 1e-3:
                raise ValueError(
                    f"Resize {output} is linear by {scale:g} from {side} to {out} px: give it sizes instead"
                )
    if mode != "nearest" or rounding not in ROUNDINGS:
        return [node]
    places = [
        np.clip(ROUNDINGS[rounding](PLACES[how](np.arange(out, dtype=np.float32), scale, side, out)), 0, side - 1)
        for side, out, scale in zip(sides, outs, scales, strict=True)
    ]
    if all(
        out % side == 0 and np.array_equal(place, np.arange(out) // (out // side))
        for place, side, out in zip(places, sides, outs, strict=True)
    ):
        plain = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
        return [onnx.helper.make_node("Resize", list(node.input), [output], node.name, **plain)]
    names = [f"{output}.rows", f"{output}.columns"]
    for name, place in zip(names, places, strict=True):
        graph.initializer.append(onnx.numpy_helper.from_array(place.astype(np.int64), name))
    rows = f"{output}.picked"
    return [
        onnx.helper.make_node("Gather", [source, names[0]], [rows], axis=2),
        onnx.helper.make_node("Gather", [rows, names[1]], [output], node.name, axis=3),
    ]
