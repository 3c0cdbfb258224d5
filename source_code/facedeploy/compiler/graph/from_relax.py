"""Relax `main` -> Graph."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import tvm
from tvm import relax
from tvm.ir import GenericConst

from facedeploy.compiler.graph.elementwise import elementwise_of
from facedeploy.compiler.graph.nodes import Convolution, Graph, Node, Operator, Value, whole
from facedeploy.compiler.graph.pooling import pooling_of
from facedeploy.compiler.kernels.blocked.direct import Window


def graph_of(main: Any, layers: Sequence[str] = ()) -> Graph | None:
    """The graph of a Relax function of one dataflow block with static tensors; None for any other function.

    `layers` names the model's convolutions in their order, which is that of the function's; where their numbers differ,
    the model was no plain list of them, and nobody knows which is which: the nodes have no names then.
    """
    blocks = main.body.blocks
    if len(blocks) != 1 or not isinstance(blocks[0], relax.DataflowBlock):
        return None
    convolutions = [binding.var for binding in blocks[0].bindings if _is_convolution(binding.value)]
    names = dict(zip(convolutions, layers, strict=True)) if len(convolutions) == len(layers) else {}
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
        named = (names[binding.var],) if binding.var in names else ()
        operator = _operator(bound, values, value)
        convolution = _convolution(bound, values, value, named)
        nodes.append(convolution or pooling_of(operator) or elementwise_of(operator) or operator)
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


def _convolution(call: Any, values: dict[Any, Value], output: Value, layers: tuple[str, ...]) -> Convolution | None:
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
    bias = np.zeros(weights.shape[0], np.float32)
    return Convolution([output], [whole(source)], weights, bias, window, depthwise, layers=layers)
