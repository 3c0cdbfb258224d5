"""What a symbol computes, by plain numpy from the JSON itself: slow, in float64, and nothing of the importer's."""

import ast
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

Array = np.ndarray


def evaluate_symbol(symbol: Mapping[str, Any], params: Mapping[str, Array], image: Array) -> dict[str, Array]:
    """`params` by names without `arg:` and `aux:`; the outputs by MXNet's names."""
    values: list[Any] = []
    for node in symbol["nodes"]:
        words = node.get("param", {}) | node.get("attr", {}) | node.get("attrs", {})
        name = node["name"]
        if node["op"] == "null":
            values.append(image.astype(np.float64) if name == "data" else params.get(name))
            continue
        inputs = [values[each[0]] for each in node["inputs"]]
        if node["op"] == "BatchNorm" and len(inputs) == 3:
            inputs += [params[f"{name}_moving_mean"], params[f"{name}_moving_var"]]
        values.append(_evaluate(node["op"], {key: _value(word) for key, word in words.items()}, inputs))
    return {f"{symbol['nodes'][head[0]]['name']}_output": values[head[0]] for head in symbol["heads"]}


def _value(word: str) -> Any:
    try:
        return ast.literal_eval(word)
    except (ValueError, SyntaxError):
        return word


def _evaluate(op: str, a: dict[str, Any], inputs: list[Array]) -> Array:
    x = inputs[0]
    match op:
        case "Convolution":
            bias = None if a.get("no_bias", False) else inputs[2]
            return _convolve(x, inputs[1], bias, a)
        case "Deconvolution":
            return _deconvolve(x, inputs[1], None if a.get("no_bias", True) else inputs[2], a)
        case "BatchNorm":
            _, gamma, beta, mean, variance = (np.asarray(each, np.float64) for each in inputs)
            gamma = np.ones_like(gamma) if a.get("fix_gamma", True) else gamma
            scale = gamma / np.sqrt(variance + a.get("eps", 1e-3))
            return (x - _channels(mean, x)) * _channels(scale, x) + _channels(beta, x)
        case "Activation":
            return ACTIVATIONS[a["act_type"]](x)
        case "LeakyReLU":
            kind, slope = a.get("act_type", "leaky"), a.get("slope", 0.25)
            slope = _channels(inputs[1], x) if kind == "prelu" else slope
            return np.where(x > 0, x, slope * (np.expm1(np.minimum(x, 0)) if kind == "elu" else x))
        case "UpSampling":
            return x.repeat(a["scale"], 2).repeat(a["scale"], 3)
        case "Crop":
            height, width = inputs[1].shape[2:] if a.get("num_args", len(inputs)) == 2 else a["h_w"]
            top, left = a.get("offset", (0, 0))
            if a.get("center_crop", False):
                top, left = (x.shape[2] - height) // 2, (x.shape[3] - width) // 2
            return x[:, :, top : top + height, left : left + width]
        case "Concat":
            return np.concatenate(inputs, a.get("dim", 1))
        case "elemwise_add" | "_Plus" | "broadcast_add":
            return x + inputs[1]
        case "elemwise_sub" | "broadcast_sub":
            return x - inputs[1]
        case "elemwise_mul" | "broadcast_mul":
            return x * inputs[1]
        case "elemwise_div" | "broadcast_div":
            return x / inputs[1]
        case "_plus_scalar" | "_PlusScalar":
            return x + a["scalar"]
        case "_minus_scalar" | "_MinusScalar":
            return x - a["scalar"]
        case "_rminus_scalar" | "_RMinusScalar":
            return a["scalar"] - x
        case "_mul_scalar" | "_MulScalar":
            return x * a["scalar"]
        case "_div_scalar" | "_DivScalar":
            return x / a["scalar"]
        case "_rdiv_scalar" | "_RDivScalar":
            return a["scalar"] / x
        case "Reshape" | "reshape":
            return _reshape(x, a["shape"])
        case "Flatten":
            return x.reshape(len(x), -1)
        case "SoftmaxActivation":
            return _softmax(x, 1 if a.get("mode", "instance") == "channel" else -1)
        case "softmax":
            return _softmax(x, a.get("axis", -1))
        case "SoftmaxOutput":
            if a.get("preserve_shape", False):
                return _softmax(x, -1)
            if a.get("multi_output", False):
                return _softmax(x, 1)
            return _softmax(x.reshape(len(x), -1), 1).reshape(x.shape)
        case "slice_axis":
            return np.take(x, np.arange(x.shape[a["axis"]])[a["begin"] : a["end"]], a["axis"])
        case "Pooling":
            return _pool(x, a)
        case "Dropout" | "identity" | "_copy" | "BlockGrad":
            return x
    raise AssertionError(op)


ACTIVATIONS = {
    "relu": lambda x: np.maximum(x, 0),
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "tanh": np.tanh,
    "softrelu": lambda x: np.log1p(np.exp(x)),
    "softsign": lambda x: x / (1 + np.abs(x)),
}


def _channels(values: Array, like: Array) -> Array:
    return np.asarray(values, np.float64).reshape(1, -1, *[1] * (like.ndim - 2))


def _softmax(x: Array, axis: int) -> Array:
    powers = np.exp(x - x.max(axis, keepdims=True))
    return powers / powers.sum(axis, keepdims=True)


def _pairs(a: dict[str, Any]) -> tuple[Any, Any, Any, Any]:
    return a["kernel"], a.get("stride") or (1, 1), a.get("dilate") or (1, 1), a.get("pad") or (0, 0)


def _convolve(x: Array, weight: Array, bias: Array | None, a: dict[str, Any]) -> Array:
    kernel, stride, dilate, pad = _pairs(a)
    groups, filters = a.get("num_group", 1), a["num_filter"]
    padded = np.pad(x, ((0, 0), (0, 0), (pad[0], pad[0]), (pad[1], pad[1])))
    span = [d * (k - 1) + 1 for d, k in zip(dilate, kernel, strict=True)]
    windows = sliding_window_view(padded, span, (2, 3))[:, :, :: stride[0], :: stride[1], :: dilate[0], :: dilate[1]]
    n, c, h, w = windows.shape[:4]
    windows = windows.reshape(n, groups, c // groups, h, w, *kernel)
    weight = weight.astype(np.float64).reshape(groups, filters // groups, c // groups, *kernel)
    made = np.einsum("ngchwij,gocij->ngohw", windows, weight, optimize=True).reshape(n, filters, h, w)
    return made if bias is None else made + _channels(bias, made)


def _deconvolve(x: Array, weight: Array, bias: Array | None, a: dict[str, Any]) -> Array:
    """Every input number adds its multiple of the kernel to where it came from."""
    kernel, stride, dilate, pad = _pairs(a)
    groups, filters = a.get("num_group", 1), a["num_filter"]
    n, c, h, w = x.shape
    whole = [s * (size - 1) + d * (k - 1) + 1 for size, k, s, d in zip((h, w), kernel, stride, dilate, strict=True)]
    adjust = a.get("adj", (0, 0))
    target = a.get("target_shape", (0, 0))
    if any(target):
        surplus = [total - size for total, size in zip(whole, target, strict=True)]
        pad, adjust = [(each + 1) // 2 for each in surplus], [each % 2 for each in surplus]
    made = np.zeros((n, groups, filters // groups, whole[0] + adjust[0], whole[1] + adjust[1]))
    grouped = x.reshape(n, groups, c // groups, h, w)
    weight = weight.astype(np.float64).reshape(groups, c // groups, filters // groups, *kernel)
    for i in range(kernel[0]):
        for j in range(kernel[1]):
            part = np.einsum("ngchw,gco->ngohw", grouped, weight[..., i, j])
            top, left = i * dilate[0], j * dilate[1]
            made[:, :, :, top : top + stride[0] * h : stride[0], left : left + stride[1] * w : stride[1]] += part
    height, width = made.shape[3] - pad[0], made.shape[4] - pad[1]
    made = made.reshape(n, filters, *made.shape[3:])[:, :, pad[0] : height, pad[1] : width]
    return made if bias is None else made + _channels(bias, made)


def _pool(x: Array, a: dict[str, Any]) -> Array:
    maximum = a.get("pool_type", "max") == "max"
    if a.get("global_pool", False):
        return x.max((2, 3), keepdims=True) if maximum else x.mean((2, 3), keepdims=True)
    kernel, stride, _, pad = _pairs(a)
    rounded = np.ceil if a.get("pooling_convention", "valid") == "full" else np.floor
    sizes = [
        int(rounded((side + 2 * p - k) / s)) + 1 for side, k, s, p in zip(x.shape[2:], kernel, stride, pad, strict=True)
    ]
    made = np.empty((*x.shape[:2], *sizes))
    for place in np.ndindex(*sizes):
        starts = [at * s - p for at, s, p in zip(place, stride, pad, strict=True)]
        # Padding counts as far as it goes, what `full` adds past it never does.
        ends = [min(start + k, side + p) for start, k, side, p in zip(starts, kernel, x.shape[2:], pad, strict=True)]
        part = x[:, :, max(starts[0], 0) : ends[0], max(starts[1], 0) : ends[1]]
        count = (ends[0] - starts[0]) * (ends[1] - starts[1])
        if not a.get("count_include_pad", True):
            count = part.shape[2] * part.shape[3]
        made[:, :, place[0], place[1]] = part.max((2, 3)) if maximum else part.sum((2, 3)) / count
    return made


def _reshape(x: Array, codes: tuple[int, ...]) -> Array:
    sides: list[int] = []
    at = 0
    codes_left = iter(codes)
    for code in codes_left:
        if code == -2:
            sides.extend(x.shape[at:])
            at = x.ndim
        elif code == -3:
            sides.append(x.shape[at] * x.shape[at + 1])
            at += 2
        elif code == -4:
            first, second = next(codes_left), next(codes_left)
            first = x.shape[at] // second if first == -1 else first
            sides += [first, x.shape[at] // first]
            at += 1
        else:
            sides.append(x.shape[at] if code == 0 else code)
            at += 1
    return x.reshape(sides)
