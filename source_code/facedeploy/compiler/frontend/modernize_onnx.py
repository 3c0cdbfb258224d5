"""Operators of older ONNX in a newer form, so that what follows has one form of each to know."""

from collections.abc import Callable
from typing import Any

import numpy as np

OLDEST = 7  # Before it, operators broadcast by rules of their own.
FORM = 11  # The form that this file gives; onnx's own converter does the rest,
TARGET = 17  # up to here.


def modernize_onnx(model: Any) -> Any:
    """An onnx.ModelProto of opset 7 to 16 -> one of opset 17 that computes the same; a newer or older one as it is.

    onnx's converter alone will not do: it loses what Pad pads with, and where an Upsample samples. The given model may
    change. A model with an operator that onnx cannot convert stays in the opset it has.
    """
    import onnx
    from onnx import version_converter

    (opset,) = (entry for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    if not OLDEST <= opset.version < TARGET:
        return model
    if opset.version < FORM:
        for node in model.graph.node:
            rewrite = REWRITES.get(node.op_type)
            if rewrite is not None:
                rewrite(node, model.graph, {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute})
        opset.version = FORM
    try:
        return version_converter.convert_version(model, TARGET)
    except RuntimeError:
        return model


def _set(node: Any, kind: str, inputs: list[str], **attributes: Any) -> None:
    import onnx

    node.CopyFrom(onnx.helper.make_node(kind, inputs, list(node.output), node.name, **attributes))


def _constant(graph: Any, node: Any, label: str, value: Any, dtype: Any) -> str:
    import onnx

    name = f"{node.output[0]}.{label}"
    graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(value, dtype), name))
    return name


def _resize(node: Any, graph: Any, attributes: dict[str, Any]) -> None:
    """Upsample, and Resize as it was before: sampled at i / scale, rounded down."""
    scales = (
        node.input[1] if len(node.input) > 1 else _constant(graph, node, "scales", attributes["scales"], np.float32)
    )
    region = _constant(graph, node, "roi", [], np.float32)
    mode = attributes.get("mode", b"nearest").decode()
    how = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    _set(node, "Resize", [node.input[0], region, scales], mode="linear" if mode == "bilinear" else mode, **how)


def _pad(node: Any, graph: Any, attributes: dict[str, Any]) -> None:
    pads = _constant(graph, node, "pads", attributes["pads"], np.int64)
    value = _constant(graph, node, "value", attributes.get("value", 0.0), np.float32)
    _set(node, "Pad", [node.input[0], pads, value], mode=attributes.get("mode", b"constant").decode())


def _clip(node: Any, graph: Any, attributes: dict[str, Any]) -> None:
    limits = [
        _constant(graph, node, name, attributes[name], np.float32) if name in attributes else ""
        for name in ("min", "max")
    ]
    _set(node, "Clip", [node.input[0], *limits])


def _slice(node: Any, graph: Any, attributes: dict[str, Any]) -> None:
    if len(node.input) > 1:  # Since opset 10.
        return
    axes = attributes.get("axes", range(len(attributes["starts"])))
    bounds = [attributes["starts"], attributes["ends"], list(axes)]
    names = ("starts", "ends", "axes")
    inputs = [_constant(graph, node, name, value, np.int64) for name, value in zip(names, bounds, strict=True)]
    _set(node, "Slice", [node.input[0], *inputs])


REWRITES: dict[str, Callable[[Any, Any, dict[str, Any]], None]] = {
    "Upsample": _resize,
    "Resize": _resize,
    "Pad": _pad,
    "Clip": _clip,
    "Slice": _slice,
}
