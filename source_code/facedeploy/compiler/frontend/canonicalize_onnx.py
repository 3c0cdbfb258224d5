"""Nodes with several ways to say one thing, said in the way that TVM's importer reads rightly and makes least of."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from facedeploy.compiler.frontend.resize_nodes import Shapes, resize_nodes

WINDOWED = ("Conv", "MaxPool", "AveragePool")


def canonicalize_onnx(model: Any, shapes: Shapes) -> None:
    """Change an onnx.ModelProto of opset 13 or newer in place; `shapes` are those tensors' that are known.

    Ensures: what `resize_nodes` says; Dropout and Identity are gone, but for one that makes an output (the importer
    gives Dropout a mask that nothing reads); `auto_pad` is pads (the importer pads SAME_LOWER as SAME_UPPER); a Split
    is slices, as every other node yields one tensor; a Clip from zero on is a Relu, and a Clip of what it yields where
    there is a limit above. Raises ValueError for a window that does not fit its input.
    """
    graph = model.graph
    constants = {entry.name: entry for entry in graph.initializer}
    outputs = {output.name for output in graph.output}
    renamed: dict[str, str] = {}
    kept = []
    for node in graph.node:
        node.input[:] = [renamed.get(name, name) for name in node.input]
        if _does_nothing(node) and node.output[0] not in outputs:
            renamed[node.output[0]] = node.input[0]
            continue
        if node.op_type in WINDOWED:
            _name_pads(node, constants, shapes)
            _fit_window(node, constants, shapes)
        if node.op_type == "Clip":
            kept += _limits(node, constants)
        elif node.op_type == "Resize":
            kept += resize_nodes(node, _attributes(node), graph, constants, shapes)
        elif node.op_type == "Split":
            kept += _slices(node, graph, constants, shapes)
        else:
            kept.append(node)
    del graph.node[:]
    graph.node.extend(kept)


def _attributes(node: Any) -> dict[str, Any]:
    import onnx

    return {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}


def _does_nothing(node: Any) -> bool:
    """At inference a Dropout does nothing; one whose mask is read is for the importer."""
    dropout = node.op_type == "Dropout" and sum(map(bool, node.output)) == 1
    return dropout or node.op_type == "Identity"


def _limits(node: Any, constants: Mapping[str, Any]) -> list[Any]:
    """A Clip from zero on as a Relu, which can become part of a convolution; any other Clip as it is."""
    import onnx

    low, high = [*node.input[1:], "", ""][:2]
    zero = onnx.numpy_helper.to_array(constants[low]) if low in constants else None
    if zero is None or zero.dtype != np.float32 or float(zero) != 0:
        return [node]
    output = node.output[0]
    if not high:
        return [onnx.helper.make_node("Relu", [node.input[0]], [output], node.name)]
    positive = f"{output}.positive"
    return [
        onnx.helper.make_node("Relu", [node.input[0]], [positive]),
        onnx.helper.make_node("Clip", [positive, "", high], [output], node.name),
    ]


def _name_pads(node: Any, constants: Mapping[str, Any], shapes: Shapes) -> None:
    attributes = _attributes(node)
    how = attributes.get("auto_pad", b"NOTSET").decode()
    if how not in ("SAME_UPPER", "SAME_LOWER", "VALID") or node.input[0] not in shapes:
        return
    sides = shapes[node.input[0]][2:]
    kernel = attributes.get("kernel_shape") or constants[node.input[1]].dims[2:]
    ones = [1] * len(sides)
    before, after = [], []
    for side, size, stride, dilation in zip(
        sides, kernel, attributes.get("strides", ones), attributes.get("dilations", ones), strict=True
    ):
        outputs = -(-side // stride)
        total = 0 if how == "VALID" else max(0, (outputs - 1) * stride + (size - 1) * dilation + 1 - side)
        smaller, larger = total // 2, total - total // 2
        before.append(smaller if how == "SAME_UPPER" else larger)
        after.append(larger if how == "SAME_UPPER" else smaller)
    _set_pads(node, before + after)


def _fit_window(node: Any, constants: Mapping[str, Any], shapes: Shapes) -> None:
    """Pad a pooling's input that its window does not fit, as onnxruntime in effect does.

    Its integer division gives one output where less than a stride is missing; ONNX defines none.
    """
    attributes = _attributes(node)
    kernel = attributes.get("kernel_shape") or (node.input[1] in constants and constants[node.input[1]].dims[2:])
    if node.input[0] not in shapes or not kernel or attributes.get("ceil_mode", 0):
        return
    ones, pads = [1] * len(kernel), list(attributes.get("pads", [0] * 2 * len(kernel)))
    padded = [side + sum(pads[axis :: len(kernel)]) for axis, side in enumerate(shapes[node.input[0]][2:])]
    window = [
        (size - 1) * dilation + 1 for size, dilation in zip(kernel, attributes.get("dilations", ones), strict=True)
    ]
    missing = [max(0, size - side) for size, side in zip(window, padded, strict=True)]
    if not any(missing):
        return
    strides = attributes.get("strides", ones)
    excluded = node.op_type != "Conv" and not attributes.get("count_include_pad", 0)
    if not excluded or any(more >= stride for more, stride in zip(missing, strides, strict=True) if more):
        raise ValueError(
            f"{node.op_type} {node.name or node.output[0]} has a window of {'x'.join(map(str, window))} px (height x "
            f"width) on an input of {'x'.join(map(str, padded))} px, padding included, so it has no output: give the "
            "model a larger input"
        )
    _set_pads(node, pads[: len(kernel)] + [pad + more for pad, more in zip(pads[len(kernel) :], missing, strict=True)])


def _set_pads(node: Any, pads: Sequence[int]) -> None:
    import onnx

    others = [attribute for attribute in node.attribute if attribute.name not in ("auto_pad", "pads")]
    made = onnx.helper.make_attribute("pads", pads)
    del node.attribute[:]
    node.attribute.extend([*others, made])


def _slices(node: Any, graph: Any, constants: Mapping[str, Any], shapes: Shapes) -> list[Any]:
    """One Slice for each output; the Split itself where its parts are not known."""
    import onnx

    attributes = _attributes(node)
    axis = attributes.get("axis", 0)
    if "split" in attributes:
        parts = list(attributes["split"])
    elif len(node.input) > 1 and node.input[1]:
        if node.input[1] not in constants:
            return [node]
        parts = onnx.numpy_helper.to_array(constants[node.input[1]]).tolist()
    elif node.input[0] in shapes:
        side, count = shapes[node.input[0]][axis], len(node.output)
        size = -(-side // count)
        parts = [min(size, side - index * size) for index in range(count)]
    else:
        return [node]
    slices = []
    start = 0
    for name, size in zip(node.output, parts, strict=True):
        bounds = {"start": start, "end": start + size, "axis": axis}
        graph.initializer.extend(
            onnx.numpy_helper.from_array(np.array([value], np.int64), f"{name}.{key}") for key, value in bounds.items()
        )
        slices.append(onnx.helper.make_node("Slice", [node.input[0], *(f"{name}.{key}" for key in bounds)], [name]))
        start += size
    return slices
