"""Convolution, Deconvolution and BatchNorm: the layers that have weights."""

from typing import Any

import numpy as np

from facedeploy.importers.mxnet.graph import Layer, Operators, Tensor

Pair = tuple[int, int]


def _convolution(layer: Layer) -> Tensor:
    attributes = layer.attributes
    kernel, stride = attributes.pair("kernel"), attributes.pair("stride", (1, 1))
    dilate, pad = attributes.pair("dilate", (1, 1)), attributes.pair("pad", (0, 0), smallest=0)
    filters, groups = attributes.whole("num_filter"), attributes.whole("num_group", 1)
    has_bias = not attributes.flag("no_bias", False)
    attributes.only("layout", "NCHW", "None")
    attributes.finish()
    layer.expect_inputs(3 if has_bias else 2)
    data = layer.data(rank=4)
    batch, channels, *size = data.shape
    _check_groups(layer, channels, filters, groups)
    covered = [d * (k - 1) + 1 for d, k in zip(dilate, kernel, strict=True)]
    made = [(n + 2 * p - c) // s + 1 for n, p, c, s in zip(size, pad, covered, stride, strict=True)]
    shape = batch, filters, *made
    layer.expect_size(shape)  # Before parameters, which may have to be drawn.
    return layer.emit(
        "Conv",
        [data.name, *_parameters(layer, (filters, channels // groups, *kernel), filters, has_bias)],
        shape,
        **_window(kernel, stride, dilate, pad, groups),
    )


def _deconvolution(layer: Layer) -> Tensor:
    attributes = layer.attributes
    kernel, stride = attributes.pair("kernel"), attributes.pair("stride", (1, 1))
    dilate, pad = attributes.pair("dilate", (1, 1)), attributes.pair("pad", (0, 0), smallest=0)
    adjust = attributes.pair("adj", (0, 0), smallest=0)
    asked = attributes.wholes("target_shape", ())
    filters, groups = attributes.whole("num_filter"), attributes.whole("num_group", 1)
    has_bias = not attributes.flag("no_bias", True)
    attributes.only("layout", "NCHW", "None")
    attributes.finish()
    layer.expect_inputs(3 if has_bias else 2)
    data = layer.data(rank=4)
    batch, channels, *size = data.shape
    _check_groups(layer, channels, filters, groups)
    whole = [s * (n - 1) + d * (k - 1) + 1 for n, k, s, d in zip(size, kernel, stride, dilate, strict=True)]
    if asked not in ((), (0, 0)):
        # The size that is asked for decides how much is cut off, pad and adj do not count then.
        surplus = [total - target for total, target in zip(whole, asked, strict=False)]
        if len(asked) != 2 or min(surplus) < 0:
            layer.refuse(f"target_shape: got {asked}, expected height and width of at most {tuple(whole)}")
        adjust = surplus[0] % 2, surplus[1] % 2
        pad = (surplus[0] + 1) // 2, (surplus[1] + 1) // 2
    if adjust[0] >= stride[0] or adjust[1] >= stride[1]:
        layer.refuse(f"adj: got {adjust}, expected less than the stride {stride}")
    made = [total - 2 * p + a for total, p, a in zip(whole, pad, adjust, strict=True)]
    shape = batch, filters, *made
    layer.expect_size(shape)
    return layer.emit(
        "ConvTranspose",
        [data.name, *_parameters(layer, (channels, filters // groups, *kernel), filters, has_bias)],
        shape,
        output_padding=adjust,
        **_window(kernel, stride, dilate, pad, groups),
    )


def _parameters(layer: Layer, weight: tuple[int, ...], filters: int, has_bias: bool) -> list[str]:
    bias = [layer.parameter(2, "bias", (filters,))] if has_bias else []
    return [layer.parameter(1, "weight", weight), *bias]


def _window(kernel: Pair, stride: Pair, dilate: Pair, pad: Pair, groups: int) -> dict[str, Any]:
    """The attributes that ONNX's two operators share."""
    return {"kernel_shape": kernel, "strides": stride, "dilations": dilate, "pads": (*pad, *pad), "group": groups}


def _batch_norm(layer: Layer) -> Tensor:
    attributes = layer.attributes
    epsilon = attributes.number("eps", 1e-3)
    fixed = attributes.flag("fix_gamma", True)
    attributes.only("axis", "1")
    attributes.only("output_mean_var", "False", "false", "0")
    # What a trained net computes comes from the moving statistics, whatever these say.
    attributes.finish("momentum", "use_global_stats", "min_calib_range", "max_calib_range")
    layer.expect_inputs(5)
    data = layer.data()
    if len(data.shape) < 2:
        layer.refuse(f"its input has the shape {list(data.shape)}, expected channels")
    channels = data.shape[1]
    if epsilon < 0:
        layer.refuse(f"eps: got {epsilon}, expected 0 or more")
    roles = ("beta", "moving_mean", "moving_var")
    ones = np.ones(channels, np.float32)
    gamma = layer.constant("ones", ones) if fixed else layer.parameter(1, "gamma", (channels,))
    others = [layer.parameter(index, role, (channels,)) for index, role in enumerate(roles, 2)]
    return layer.emit("BatchNormalization", [data.name, gamma, *others], data.shape, epsilon=epsilon)


def _check_groups(layer: Layer, channels: int, filters: int, groups: int) -> None:
    if filters < 1 or groups < 1 or channels % groups or filters % groups:
        layer.refuse(
            f"num_filter {filters}, num_group {groups}: expected 1 or more, and groups that divide these and the "
            f"{channels} channels of its input"
        )


OPERATORS: Operators = {"Convolution": _convolution, "Deconvolution": _deconvolution, "BatchNorm": _batch_norm}
