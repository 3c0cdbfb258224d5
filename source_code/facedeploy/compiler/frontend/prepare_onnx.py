"""An ONNX model rewritten as TVM's importer wants it: static shapes, constants computed, one form of each node."""

from collections.abc import Collection
from typing import Any

import numpy as np
import numpy.typing as npt

from facedeploy.compiler.frontend.canonicalize_onnx import canonicalize_onnx
from facedeploy.compiler.frontend.modernize_onnx import modernize_onnx
from facedeploy.compiler.frontend.resize_nodes import settle_scales
from facedeploy.core.requirement import require
from facedeploy.core.tensor_spec import TensorSpec
from facedeploy.quantize.graph import static_shapes

# Inputs that exporters give as an empty tensor where they mean none, by position.
OPTIONAL_INPUTS = {"Resize": (1, 2, 3)}
# Random operators have no value; dequantized weights say how an operator is quantized.
NEVER_FOLDED = {"RandomNormal", "RandomUniform", "QuantizeLinear", "DequantizeLinear"}
IR_VERSION = 8  # Of opset 17. Older ones list constants among the inputs.
LARGEST_FOLDED = 1 << 24  # Numbers. What expands to more stays an operator.

Array = npt.NDArray[Any]


def prepare_onnx(model: Any, image: TensorSpec) -> Any:
    """A copy of an onnx.ModelProto, whose one input gets the shape of `image`; it computes the same.

    Ensures: opset 17 or newer, but for a model that onnx cannot convert; what shapes and constants alone determine is
    an initializer; an empty tensor for an optional input is left out; what `canonicalize_onnx` ensures; no node is
    there for nothing.
    """
    prepared = modernize_onnx(with_input_shape(model, image))
    graph = prepared.graph
    _forget_shapes(graph)  # onnx's converter writes those that it infers.
    while _fold_constants(prepared):
        pass
    _leave_out_empty_inputs(graph)
    canonicalize_onnx(prepared, _settled_shapes(prepared))
    _remove_dead(graph)
    return prepared


def with_input_shape(model: Any, image: TensorSpec) -> Any:
    """A copy of an onnx.ModelProto, whose one input gets the shape of `image`; all other shapes are to be inferred."""
    onnx = require("onnx", "compile", "Compiling an ONNX model")
    copied = onnx.ModelProto()
    copied.CopyFrom(model)
    graph = copied.graph
    constants = {initializer.name for initializer in graph.initializer}
    inputs = [entry for entry in graph.input if entry.name not in constants]
    del graph.input[:]
    graph.input.extend(inputs)
    for side, size in zip(graph.input[0].type.tensor_type.shape.dim, image.shape, strict=True):
        side.dim_value = size
    _forget_shapes(graph)  # A file's may hold for another input shape.
    copied.ir_version = max(copied.ir_version, IR_VERSION)
    return copied


def dequantize_constants(model: Any) -> None:
    """Compute every DequantizeLinear of initializers, in place: weights and biases."""
    _fold_constants(model, NEVER_FOLDED - {"DequantizeLinear"})


def _forget_shapes(graph: Any) -> None:
    del graph.value_info[:]
    for output in graph.output:
        for side in output.type.tensor_type.shape.dim:
            side.Clear()


def _fold_constants(model: Any, never: Collection[str] = NEVER_FOLDED) -> bool:
    """Compute what can be, but for `never`; whether a shape that was computed may let more be known."""
    import onnx

    graph = model.graph
    known = {entry.name: onnx.numpy_helper.to_array(entry) for entry in graph.initializer}
    measured = any(node.op_type in ("Shape", "Size") for node in graph.node)
    shapes = static_shapes(model) if measured else {}
    kept, folded = [], False
    for node in graph.node:
        results = None if node.op_type in never else _evaluate(node, known, shapes, model.opset_import)
        if results is None:
            kept.append(node)
            continue
        folded = True
        for name, array in zip(node.output, results, strict=True):
            known[name] = array
            graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    del graph.node[:]
    graph.node.extend(kept)
    return measured and folded


def _settled_shapes(model: Any) -> dict[str, tuple[int, ...]]:
    """The static shapes once each Resize has the size that onnxruntime gives it; one may decide those after it."""
    graph = model.graph
    constants = {entry.name: entry for entry in graph.initializer}
    resized = [node for node in graph.node if node.op_type == "Resize"]
    shapes = static_shapes(model)
    for node in resized:
        if node.input[0] in shapes and settle_scales(node, graph, constants, shapes[node.input[0]]):
            shapes = static_shapes(model)
    return shapes


def _evaluate(
    node: Any, known: dict[str, Array], shapes: dict[str, tuple[int, ...]], opsets: Any
) -> list[Array] | None:
    """The outputs of a node as they are for every image; None where that is not known."""
    import onnx
    from onnx.reference import ReferenceEvaluator

    if node.domain not in ("", "ai.onnx"):
        return None
    if any(attribute.type in (attribute.GRAPH, attribute.GRAPHS) for attribute in node.attribute):
        return None
    read = [name for name in node.input if name]
    if node.op_type in ("Shape", "Size") and read[0] in shapes:
        # Either one looks at the shape alone, which an array without memory has as well.
        known = {read[0]: np.broadcast_to(np.float32(0), shapes[read[0]])}
    if any(name not in known for name in read):
        return None
    graph = onnx.helper.make_graph(
        [node],
        "node",
        [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.UNDEFINED, None) for name in dict.fromkeys(read)],
        [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.UNDEFINED, None) for name in node.output],
    )
    try:
        model = onnx.helper.make_model(graph, opset_imports=opsets)
        results = ReferenceEvaluator(model).run(None, {name: known[name] for name in read})
    except Exception:  # An operator that the evaluator lacks is left to TVM, which may know it or say that it does not.
        return None
    arrays = [np.asarray(result) for result in results]
    return arrays if all(array.size <= LARGEST_FOLDED for array in arrays) else None


def _leave_out_empty_inputs(graph: Any) -> None:
    empty = {entry.name for entry in graph.initializer if 0 in entry.dims}
    for node in graph.node:
        for position in OPTIONAL_INPUTS.get(node.op_type, ()):
            if position < len(node.input) and node.input[position] in empty:
                node.input[position] = ""


def _remove_dead(graph: Any) -> None:
    needed = {output.name for output in graph.output}
    kept = []
    for node in reversed(graph.node):
        subgraphs = any(attribute.type in (attribute.GRAPH, attribute.GRAPHS) for attribute in node.attribute)
        if subgraphs:
            return  # Its branches may read anything.
        if needed.intersection(node.output):
            needed.update(node.input)
            kept.append(node)
    del graph.node[:]
    graph.node.extend(reversed(kept))
    initializers = [entry for entry in graph.initializer if entry.name in needed]
    del graph.initializer[:]
    graph.initializer.extend(initializers)
