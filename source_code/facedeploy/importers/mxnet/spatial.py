"""Pooling, UpSampling and Crop: the layers that change height and width."""

from typing import Any

from facedeploy.importers.mxnet.graph import Layer, Operators, Shape, Tensor

POOLS = {"max": "MaxPool", "avg": "AveragePool"}


def _pooling(layer: Layer) -> Tensor:
    attributes = layer.attributes
    kind = attributes.choice("pool_type", tuple(POOLS), "max")
    everywhere = attributes.flag("global_pool", False)
    kernel = attributes.pair("kernel", (1, 1) if everywhere else None)
    stride, pad = attributes.pair("stride", (1, 1)), attributes.pair("pad", (0, 0), smallest=0)
    full = attributes.choice("pooling_convention", ("valid", "full"), "valid") == "full"
    padding_counts = attributes.flag("count_include_pad", True)
    attributes.only("layout", "NCHW", "None")
    attributes.finish("p_value")  # Of a kind that is not covered.
    layer.expect_inputs(1)
    data = layer.data(rank=4)
    batch, channels, *size = data.shape
    if everywhere:
        return layer.emit(f"Global{POOLS[kind]}", [data.name], (batch, channels, 1, 1))
    spare = [n + 2 * p - k for n, p, k in zip(size, pad, kernel, strict=True)]
    if min(spare) < 0:
        layer.refuse(f"its kernel {kernel} does not fit into {size} with the pad {pad}")
    made = [1 + (-(-rest // s) if full else rest // s) for rest, s in zip(spare, stride, strict=True)]
    if any(k <= p or (m - 1) * s >= n + p for n, p, k, s, m in zip(size, pad, kernel, stride, made, strict=True)):
        layer.refuse(f"with the kernel {kernel}, stride {stride} and pad {pad} some windows see nothing of {size}")
    shape = (batch, channels, *made)
    options: dict[str, Any] = {"kernel_shape": kernel, "strides": stride, "ceil_mode": int(full)}
    if kind == "max":
        return layer.emit("MaxPool", [data.name], shape, pads=(*pad, *pad), **options)
    if padding_counts and full:
        # A window at the end counts the padding, and not what lies past it, which only `full` makes it see.
        if any(pad):
            pads = layer.constant("pads", (0, 0, *pad, 0, 0, *pad), "int64")
            padded = (batch, channels, *(n + 2 * p for n, p in zip(size, pad, strict=True)))
            data = layer.emit("Pad", [data.name, pads], padded, "padded")
        return layer.emit("AveragePool", [data.name], shape, pads=(0, 0, 0, 0), count_include_pad=0, **options)
    return layer.emit(
        "AveragePool", [data.name], shape, pads=(*pad, *pad), count_include_pad=int(padding_counts), **options
    )


def _up_sampling(layer: Layer) -> Tensor:
    attributes = layer.attributes
    scale = attributes.whole("scale")
    attributes.choice("sample_type", ("nearest",))
    attributes.only("num_args", "1")
    attributes.finish("num_filter", "multi_input_mode")  # Of bilinear, and of several inputs.
    layer.expect_inputs(1)
    data = layer.data(rank=4)
    if not 1 <= scale <= 64:
        layer.refuse(f"scale: got {scale}, expected 1 to 64")
    batch, channels, height, width = data.shape
    return layer.emit(
        "Resize",
        [data.name, "", layer.constant("scales", (1, 1, scale, scale))],
        (batch, channels, height * scale, width * scale),
        mode="nearest",
        coordinate_transformation_mode="asymmetric",
        nearest_mode="floor",
    )


def _crop(layer: Layer) -> Tensor:
    attributes = layer.attributes
    count = attributes.whole("num_args", len(layer.inputs))
    offset = attributes.pair("offset", (0, 0), smallest=0)
    asked = attributes.pair("h_w", (0, 0), smallest=0)
    centered = attributes.flag("center_crop", False)
    attributes.finish()
    layer.expect_inputs(1, 2)
    layer.expect_inputs(count)
    data = layer.data(rank=4)
    like = layer.data(1, rank=4).shape[2:] if count == 2 else asked
    height, width = data.shape[2:]
    if centered:
        offset = max(height - like[0], 0) // 2, max(width - like[1], 0) // 2
    if min(like) < 1 or offset[0] + like[0] > height or offset[1] + like[1] > width:
        layer.refuse(f"cannot crop {list(like)} at {offset} out of {[height, width]}")
    if like == (height, width):
        return data
    starts, ends = layer.constant("starts", offset, "int64"), layer.constant("ends", _sum(offset, like), "int64")
    axes = layer.constant("axes", (2, 3), "int64")
    return layer.emit("Slice", [data.name, starts, ends, axes], (*data.shape[:2], *like))


def _sum(first: Shape, second: Shape) -> Shape:
    return tuple(a + b for a, b in zip(first, second, strict=True))


OPERATORS: Operators = {"Pooling": _pooling, "UpSampling": _up_sampling, "Crop": _crop}
