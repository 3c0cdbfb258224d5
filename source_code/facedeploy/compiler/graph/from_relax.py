"""Relax `main` -> Graph."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import tvm
from tvm import relax
from tvm.ir import GenericConst

from facedeploy.compiler.graph.attributes import Layer
from facedeploy.compiler.graph.elementwise import elementwise_of
from facedeploy.compiler.graph.interpolation import interpolation_of
from facedeploy.compiler.graph.nodes import (
    Convolution,
    Dequantize,
    FloatArray,
    Graph,
    Node,
    Operator,
    Quantize,
    Value,
    whole,
)
from facedeploy.compiler.graph.pooling import pooling_of
from facedeploy.compiler.graph.quantization import affines_of, is_dequantize
from facedeploy.compiler.kernels.blocked.direct import Window


def graph_of(main: Any, layers: Sequence[Layer] = ()) -> Graph | None:
    """The graph of a Relax function of one dataflow block with static tensors; None for any other function.

    `layers` tells of the model's convolutions in their order, which is that of the function's; where their numbers
    differ, the model was no plain list of them, and nobody knows which is which: the nodes have no names then, and
    compute with floats.
    """
    blocks = main.body.blocks
    if len(blocks) != 1 or not isinstance(blocks[0], relax.DataflowBlock):
        return None
    convolutions = [binding.var for binding in blocks[0].bindings if _is_convolution(binding.value)]
    known = dict(zip(convolutions, layers, strict=True)) if len(convolutions) == len(layers) else {}
    affines = affines_of(blocks[0], main.body.body)
    values: dict[Any, Value] = {}
    for parameter in main.params:
        value = _value(parameter)
        if value is None:
            return None
        values[parameter] = value
    nodes: list[Node] = []
    returned: Any = main.body.body
    for binding in blocks[0].bindings:
        bound = binding.value
        if isinstance(bound, relax.Tuple):
            values_of_tuple = [values.get(field) for field in bound.fields]
            if binding.var.same_as(returned) and None not in values_of_tuple:
                return Graph(
                    [values[parameter] for parameter in main.params],
                    nodes,
                    [value for value in values_of_tuple if value is not None],
                )
            return None
        value = _value(binding.var)
        if value is None or not isinstance(bound, relax.Call):
            return None
        values[binding.var] = value
        if binding.var in affines:
            value.affine, value.dtype = affines[binding.var], "uint8"
            nodes.append(Quantize([value], values[bound.args[0]]))
        elif is_dequantize(bound) and bound.args[0] in affines:
            nodes.append(Dequantize([value], values[bound.args[0]]))
        else:
            operator = _operator(bound, values, value)
            convolution = _convolution(bound, values, value, known.get(binding.var))
            known_as = pooling_of(operator) or elementwise_of(operator) or interpolation_of(operator)
            nodes.append(convolution or known_as or operator)
    if returned in values:
        return Graph([values[parameter] for parameter in main.params], nodes, [values[returned]])
    return None


def _value(variable: Any) -> Value | None:
    kind = variable.ty
    if not isinstance(kind, relax.TensorType) or kind.shape is None:
        return None
    try:
        shape = tuple(int(side) for side in kind.shape)
    except (TypeError, ValueError):
        return None
    return Value(str(variable.name), shape, str(kind.dtype))


def _operator(call: Any, values: dict[Any, Value], output: Value) -> Operator:
    variables = [
        part
        for argument in call.args
        for part in (argument.fields if isinstance(argument, relax.Tuple) else [argument])
        if isinstance(part, relax.Var) and part in values
    ]
    arguments = {variable: values[variable] for variable in variables}
    return Operator([output], call, [values[variable] for variable in variables], arguments)


def _is_convolution(bound: Any) -> bool:
    return isinstance(bound, relax.Call) and bool(bound.op == tvm.ir.Op.get("relax.nn.conv2d"))


def _convolution(call: Any, values: dict[Any, Value], output: Value, layer: Layer | None) -> Convolution | None:
    """A 2-D convolution in NCHW with constant weights: dense or one filter a channel."""
    if not _is_convolution(call) or not isinstance(call.args[1], GenericConst):
        return None
    attributes = call.attrs
    source = values.get(call.args[0])
    weights = call.args[1].value.numpy()
    if source is None or attributes.data_layout != "NCHW" or attributes.kernel_layout != "OIHW":
        return None
    if weights.dtype != np.float32 or str(source.dtype) != "float32" or output.dtype != "float32":
        return None
    groups = int(attributes.groups)
    depthwise = groups > 1 and groups == source.shape[1] == weights.shape[0]
    if groups != 1 and not depthwise:
        return None
    top, left, *_ = (int(side) for side in attributes.padding)
    window = Window(
        (weights.shape[2], weights.shape[3]),
        tuple(int(step) for step in attributes.strides),  # type: ignore[arg-type]
        (top, left),
        tuple(int(step) for step in attributes.dilation),  # type: ignore[arg-type]
    )
    return Convolution(
        [output],
        [whole(source)],
        weights,
        np.zeros(weights.shape[0], np.float32),
        window,
        depthwise,
        layers=(layer.name,) if layer else (),
        weight_scales=_weight_scales(weights, layer),
    )


def _weight_scales(weights: FloatArray, layer: Layer | None) -> FloatArray | None:
    """The scales (O,), if the weights still are integers times them: a pass may have scaled them since."""
    if layer is None or len(layer.weight_scales) not in (1, len(weights)):
        return None
    scales = np.broadcast_to(np.array(layer.weight_scales, np.float32), len(weights))
    steps = weights / scales.reshape(-1, 1, 1, 1)
    whole_steps = np.rint(steps)
    fits = whole_steps.min() >= -128 and whole_steps.max() <= 127
    return scales if fits and np.abs(steps - whole_steps).max() < 1e-3 else None
