"""Activations, softmax, and arithmetic between tensors or with a number."""

from functools import partial
from itertools import zip_longest
from math import prod

from facedeploy.importers.mxnet.graph import Layer, Operators, Tensor

ACTIVATIONS = {"relu": "Relu", "sigmoid": "Sigmoid", "tanh": "Tanh", "softrelu": "Softplus", "softsign": "Softsign"}
LABELED = ("SoftmaxOutput", "Softmax")  # Two names of one layer, whose second input is the label.
ELEMENTWISE = {
    "Add": ("elemwise_add", "_Plus", "_plus", "_add", "broadcast_add", "broadcast_plus"),
    "Sub": ("elemwise_sub", "_Minus", "_minus", "_sub", "broadcast_sub", "broadcast_minus"),
    "Mul": ("elemwise_mul", "_Mul", "_mul", "broadcast_mul"),
    "Div": ("elemwise_div", "_Div", "_div", "broadcast_div"),
}
SCALAR = {
    "Add": ("_plus_scalar", "_PlusScalar"),
    "Sub": ("_minus_scalar", "_MinusScalar"),
    "Mul": ("_mul_scalar", "_MulScalar"),
    "Div": ("_div_scalar", "_DivScalar"),
}
SCALAR_FIRST = {"Sub": ("_rminus_scalar", "_RMinusScalar"), "Div": ("_rdiv_scalar", "_RDivScalar")}


def _activation(layer: Layer) -> Tensor:
    kind = layer.attributes.choice("act_type", tuple(ACTIVATIONS))
    layer.attributes.finish()
    layer.expect_inputs(1)
    data = layer.data()
    return layer.emit(ACTIVATIONS[kind], [data.name], data.shape)


def _leaky_relu(layer: Layer) -> Tensor:
    kind = layer.attributes.choice("act_type", ("leaky", "elu", "prelu"), "leaky")
    slope = layer.attributes.number("slope", 0.25)
    layer.attributes.finish("lower_bound", "upper_bound")  # Of a kind that is not covered.
    layer.expect_inputs(2 if kind == "prelu" else 1)
    data = layer.data()
    if kind != "prelu":
        return layer.emit("LeakyRelu" if kind == "leaky" else "Elu", [data.name], data.shape, alpha=slope)
    if len(data.shape) != 4:
        layer.refuse(f"its input has the shape {list(data.shape)}, expected 4 dimensions")
    channels = data.shape[1]
    gamma = layer.parameter(1, "gamma", (channels,))
    sides = layer.constant("sides", (channels, 1, 1), "int64")
    slopes = layer.emit("Reshape", [gamma, sides], (channels, 1, 1), "slopes")
    return layer.emit("PRelu", [data.name, slopes.name], data.shape)


def _softmax_activation(layer: Layer) -> Tensor:
    mode = layer.attributes.choice("mode", ("instance", "channel"), "instance")
    layer.attributes.finish()
    layer.expect_inputs(1)
    # For each instance, the documentation says; MXNet 1.9.1 on a CPU takes the last axis of any number of dimensions.
    return _softmax_of(layer, 1 if mode == "channel" else -1)


def _softmax(layer: Layer) -> Tensor:
    axis = layer.attributes.whole("axis", -1)
    layer.attributes.only("temperature", "None", "1.0", "1")
    layer.attributes.only("dtype", "None", "float32")
    layer.attributes.only("use_length", "False", "false", "0")
    layer.attributes.finish()
    layer.expect_inputs(1)
    return _softmax_of(layer, axis)


def _softmax_output(layer: Layer) -> Tensor:
    """The label is for the loss: it has no part in what comes out."""
    channels = layer.attributes.flag("multi_output", False)
    last = layer.attributes.flag("preserve_shape", False)
    layer.attributes.finish(
        "grad_scale", "ignore_label", "use_ignore", "normalization", "out_grad", "smooth_alpha", "is_hidden_layer"
    )
    data = layer.data()
    if last or channels or len(data.shape) == 2:
        return _softmax_of(layer, -1 if last or not channels else 1)
    rows = layer.emit("Flatten", [data.name], (data.shape[0], prod(data.shape[1:])), "flat", axis=1)
    softmax = layer.emit("Softmax", [rows.name], rows.shape, "softmax", axis=1)
    return layer.emit("Reshape", [softmax.name, layer.constant("sides", data.shape, "int64")], data.shape)


def _softmax_of(layer: Layer, axis: int) -> Tensor:
    data = layer.data()
    rank = len(data.shape)
    if not -rank <= axis < rank:
        layer.refuse(f"axis: got {axis}, its input has {rank} dimensions")
    return layer.emit("Softmax", [data.name], data.shape, axis=axis)


def _elementwise(layer: Layer, op: str) -> Tensor:
    layer.attributes.finish()
    layer.expect_inputs(2)
    first, second = layer.data(0), layer.data(1)
    broadcast = layer.node.op.startswith("broadcast_") and len(first.shape) == len(second.shape)
    sides = list(zip_longest(first.shape, second.shape, fillvalue=0))
    if any(a != b and not (broadcast and 1 in (a, b)) for a, b in sides):
        layer.refuse(f"its inputs have the shapes {list(first.shape)} and {list(second.shape)}, which do not match")
    return layer.emit(op, [first.name, second.name], tuple(max(pair) for pair in sides))


def _with_scalar(layer: Layer, op: str, *, first: bool) -> Tensor:
    scalar = layer.attributes.number("scalar")
    layer.attributes.finish("is_int")  # How MXNet's own Python gave the number.
    layer.expect_inputs(1)
    data = layer.data()
    number = layer.constant("scalar", scalar)
    return layer.emit(op, [number, data.name] if first else [data.name, number], data.shape)


OPERATORS: Operators = {
    "Activation": _activation,
    "LeakyReLU": _leaky_relu,
    "SoftmaxActivation": _softmax_activation,
    "softmax": _softmax,
    **dict.fromkeys(LABELED, _softmax_output),
    **{name: partial(_elementwise, op=op) for op, names in ELEMENTWISE.items() for name in names},
    **{name: partial(_with_scalar, op=op, first=False) for op, names in SCALAR.items() for name in names},
    **{name: partial(_with_scalar, op=op, first=True) for op, names in SCALAR_FIRST.items() for name in names},
}
