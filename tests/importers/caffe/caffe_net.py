"""Caffe once more, in numpy and by its definitions: nothing of facedeploy is used here."""

import re
import struct
from pathlib import Path

import numpy as np


def varint(number: int) -> bytes:
    number &= (1 << 64) - 1
    out = bytearray()
    while True:
        out.append(number & 127 | (128 if number > 127 else 0))
        number >>= 7
        if not number:
            return bytes(out)


def field(number: int, content: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(content)) + content


def blob_bytes(array, *, legacy: bool = False, double: bool = False, packed: bool = True) -> bytes:
    if legacy:
        sides = (1,) * (4 - array.ndim) + array.shape
        shape = b"".join(varint(number << 3) + varint(side) for number, side in enumerate(sides, 1))
    else:
        shape = field(7, field(1, b"".join(map(varint, array.shape))))
    if double:
        return shape + field(8, array.astype("<f8").tobytes())
    if packed:
        return field(5, array.astype("<f4").tobytes()) + shape
    return shape + b"".join(varint(5 << 3 | 5) + struct.pack("<f", value) for value in array.ravel())


def caffemodel_bytes(layers: dict, **form: bool) -> bytes:
    """Layer name -> arrays; with a few fields that a reader has no use for."""
    out = field(1, b"a net")
    for name, arrays in layers.items():
        blobs = b"".join(field(7, blob_bytes(np.asarray(array), **form)) for array in arrays)
        out += field(100, field(1, name.encode()) + field(2, b"Any") + blobs + varint(10 << 3) + varint(1))
    return out


def wire_fields(content: bytes):
    place = 0

    def number() -> int:
        nonlocal place
        value = shift = 0
        while True:
            byte = content[place]
            place += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while place < len(content):
        key = number()
        if key & 7 == 0:
            yield key >> 3, number()
        else:
            size = {1: 8, 5: 4}.get(key & 7) or number()
            yield key >> 3, content[place : place + size]
            place += size


def read_blobs(path: Path) -> dict:
    """Layer name -> arrays, of a file with packed numbers and shapes."""
    layers = {}
    for key, layer in wire_fields(path.read_bytes()):
        if key != 100:
            continue
        name, arrays = "", []
        for part, content in wire_fields(layer):
            if part == 1:
                name = content.decode()
            if part == 7:
                parts = dict(wire_fields(content))
                sides = next(packed for _, packed in wire_fields(parts[7]))
                assert all(byte < 128 for byte in sides) or len(sides) > 1
                shape = [side for _, side in wire_fields(b"".join(b"\x08" + one for one in split_varints(sides)))]
                arrays.append(np.frombuffer(parts[5], "<f4").reshape(shape))
        layers[name] = arrays
    return layers


def split_varints(content: bytes):
    return re.findall(rb"[\x80-\xff]*[\x00-\x7f]", content, re.DOTALL)


def parse(text: str) -> list:
    """Prototxt -> [(key, text or such a list)]."""
    tokens = re.findall(r'"[^"]*"|[\w.+-]+|[{}]', re.sub(r"#.*", "", text))

    def section() -> list:
        fields = []
        while tokens and tokens[0] != "}":
            key = tokens.pop(0)
            if tokens[0] == "{":
                tokens.pop(0)
                fields.append((key, section()))
                tokens.pop(0)
            else:
                fields.append((key, tokens.pop(0).strip('"')))
        return fields

    return section()


def every(fields: list, key: str) -> list:
    return [value for name, value in fields if name == key]


def one(fields: list, key: str, default=None):
    return every(fields, key)[0] if every(fields, key) else default


def run(text: str, blobs: dict, image) -> dict:
    """The blobs that no layer reads, in the order of the file, for an image (N, C, H, W)."""
    held, unread = {}, {}
    for layer in every(parse(text), "layer"):
        kind, tops, bottoms = one(layer, "type"), every(layer, "top"), every(layer, "bottom")
        if kind == "Input":
            held[tops[0]] = image.astype(np.float64)
            continue
        parameters = [np.asarray(array, np.float64) for array in blobs.get(one(layer, "name"), [])]
        made = LAYERS[kind](layer, [held[name] for name in bottoms], parameters)
        for name in bottoms:
            unread.pop(name, None)
        for name, value in zip(tops, made if isinstance(made, list) else [made], strict=True):
            held[name] = unread[name] = value
    return unread


def pair(fields: list, key: str, stem: str, default: int) -> list:
    values = every(fields, key) or every(fields, f"{stem}_h") + every(fields, f"{stem}_w") or [default]
    return [int(values[0]), int(values[-1])]


def window(layer: list, section: str):
    fields = one(layer, section, [])
    kernel, stride = pair(fields, "kernel_size", "kernel", 0), pair(fields, "stride", "stride", 1)
    return fields, kernel, stride, pair(fields, "pad", "pad", 0), pair(fields, "dilation", "-", 1)


def convolution(layer, inputs, blobs):
    fields, (kh, kw), (sh, sw), (ph, pw), (dh, dw) = window(layer, "convolution_param")
    groups = int(one(fields, "group", 1))
    batch, channels, height, width = inputs[0].shape
    padded = np.pad(inputs[0], [(0, 0), (0, 0), (ph, ph), (pw, pw)])
    padded = padded.reshape(batch, groups, channels // groups, *padded.shape[2:])
    rows = (height + 2 * ph - dh * (kh - 1) - 1) // sh + 1
    columns = (width + 2 * pw - dw * (kw - 1) - 1) // sw + 1
    weight = blobs[0].reshape(groups, -1, channels // groups, kh, kw)
    out = np.zeros((batch, groups, weight.shape[1], rows, columns))
    for y in range(kh):
        for x in range(kw):
            seen = padded[..., y * dh :, x * dw :][..., ::sh, ::sw][..., :rows, :columns]
            out += np.einsum("goi,ngihw->ngohw", weight[..., y, x], seen)
    out = out.reshape(batch, -1, rows, columns)
    return out + blobs[1].reshape(-1, 1, 1) if one(fields, "bias_term", "true") == "true" else out


def deconvolution(layer, inputs, blobs):
    fields, (kh, kw), (sh, sw), (ph, pw), (dh, dw) = window(layer, "convolution_param")
    groups = int(one(fields, "group", 1))
    batch, channels, height, width = inputs[0].shape
    grouped = inputs[0].reshape(batch, groups, channels // groups, height, width)
    weight = blobs[0].reshape(groups, channels // groups, -1, kh, kw)
    rows, columns = sh * (height - 1) + dh * (kh - 1) + 1, sw * (width - 1) + dw * (kw - 1) + 1
    out = np.zeros((batch, groups, weight.shape[2], rows, columns))
    for y in range(kh):
        for x in range(kw):
            # Each pixel adds its kernel where its stride puts it.
            places = out[..., y * dh : y * dh + sh * (height - 1) + 1 : sh, x * dw : x * dw + sw * (width - 1) + 1 : sw]
            places += np.einsum("gio,ngihw->ngohw", weight[..., y, x], grouped)
    out = out.reshape(batch, -1, rows, columns)[:, :, ph : rows - ph, pw : columns - pw]
    return out + blobs[1].reshape(-1, 1, 1) if one(fields, "bias_term", "true") == "true" else out


def pooling(layer, inputs, blobs):
    fields, kernel, stride, pad, _ = window(layer, "pooling_param")
    source, average = inputs[0], one(fields, "pool", "MAX") == "AVE"
    if one(fields, "global_pooling") == "true":
        return source.mean((2, 3), keepdims=True) if average else source.max((2, 3), keepdims=True)
    counts = []
    for side, taps, jump, before in zip(source.shape[2:], kernel, stride, pad, strict=True):
        room = (side + 2 * before - taps) / jump
        count = int(np.ceil(room) if one(fields, "round_mode", "CEIL") == "CEIL" else np.floor(room)) + 1
        counts.append(count - 1 if before and (count - 1) * jump >= side + before else count)
    out = np.zeros((*source.shape[:2], *counts))
    for row in range(counts[0]):
        for column in range(counts[1]):
            starts = [place * jump - before for place, jump, before in zip((row, column), stride, pad, strict=True)]
            ends = [
                min(start + taps, side + before)
                for start, taps, side, before in zip(starts, kernel, source.shape[2:], pad, strict=True)
            ]
            size = np.prod([end - start for start, end in zip(starts, ends, strict=True)])
            seen = source[:, :, max(starts[0], 0) : ends[0], max(starts[1], 0) : ends[1]]
            out[:, :, row, column] = seen.sum((2, 3)) / size if average else seen.max((2, 3))
    return out


def batch_norm(layer, inputs, blobs):
    mean, variance, weight = blobs
    factor = 1 / weight.item() if weight.item() else 0
    sides = (-1, *[1] * (inputs[0].ndim - 2))
    eps = float(one(one(layer, "batch_norm_param", []), "eps", 1e-5))
    return (inputs[0] - factor * mean.reshape(sides)) / np.sqrt(factor * variance.reshape(sides) + eps)


def scale(layer, inputs, blobs):
    fields = one(layer, "scale_param", [])
    axis, axes = int(one(fields, "axis", 1)), int(one(fields, "num_axes", 1))
    rank = inputs[0].ndim
    axis += rank if axis < 0 else 0
    behind = [1] * (0 if axes == -1 else rank - axis - axes)
    out = inputs[0] * blobs[0].reshape(*blobs[0].shape, *behind)
    return out + blobs[1].reshape(*blobs[1].shape, *behind) if one(fields, "bias_term") == "true" else out


def relu(layer, inputs, blobs):
    slope = float(one(one(layer, "relu_param", []), "negative_slope", 0))
    return np.where(inputs[0] > 0, inputs[0], slope * inputs[0])


def prelu(layer, inputs, blobs):
    slope = blobs[0].reshape(-1, *[1] * (inputs[0].ndim - 2))
    return np.where(inputs[0] > 0, inputs[0], slope * inputs[0])


def eltwise(layer, inputs, blobs):
    operation = one(one(layer, "eltwise_param", []), "operation", "SUM")
    return {"SUM": np.sum, "PROD": np.prod, "MAX": np.max}[operation](inputs, axis=0)


def softmax(layer, inputs, blobs):
    axis = int(one(one(layer, "softmax_param", []), "axis", 1))
    grown = np.exp(inputs[0] - inputs[0].max(axis, keepdims=True))
    return grown / grown.sum(axis, keepdims=True)


def concat(layer, inputs, blobs):
    return np.concatenate(inputs, int(one(one(layer, "concat_param", []), "axis", 1)))


def slice_(layer, inputs, blobs):
    fields = one(layer, "slice_param", [])
    points = [int(point) for point in every(fields, "slice_point")] or len(every(layer, "top"))
    return np.split(inputs[0], points, int(one(fields, "axis", 1)))


def crop(layer, inputs, blobs):
    fields = one(layer, "crop_param", [])
    source, reference = inputs
    axis = int(one(fields, "axis", 2)) % source.ndim
    offsets = [int(offset) for offset in every(fields, "offset")] or [0]
    offsets = [0] * axis + offsets * (source.ndim - axis if len(offsets) == 1 else 1)
    cut = [slice(None)] * axis + [
        slice(offset, offset + side) for offset, side in zip(offsets[axis:], reference.shape[axis:], strict=True)
    ]
    return source[tuple(cut)]


def reshape(layer, inputs, blobs):
    fields = one(layer, "reshape_param")
    sides = [int(side) for side in every(one(fields, "shape"), "dim")]
    shape, axis, axes = inputs[0].shape, int(one(fields, "axis", 0)), int(one(fields, "num_axes", -1))
    axis += len(shape) + 1 if axis < 0 else 0
    end = len(shape) if axes == -1 else axis + axes
    middle = [shape[axis + index] if side == 0 else side for index, side in enumerate(sides)]
    return inputs[0].reshape(*shape[:axis], *middle, *shape[end:])


def flatten(layer, inputs, blobs):
    fields, shape = one(layer, "flatten_param", []), inputs[0].shape
    first, last = int(one(fields, "axis", 1)) % len(shape), int(one(fields, "end_axis", -1)) % len(shape)
    return inputs[0].reshape(*shape[:first], -1, *shape[last + 1 :])


def permute(layer, inputs, blobs):
    order = [int(axis) for axis in every(one(layer, "permute_param"), "order")]
    return inputs[0].transpose(order + [axis for axis in range(inputs[0].ndim) if axis not in order])


LAYERS = {
    "BatchNorm": batch_norm,
    "Concat": concat,
    "Convolution": convolution,
    "Crop": crop,
    "Deconvolution": deconvolution,
    "Dropout": lambda layer, inputs, blobs: inputs[0],
    "Eltwise": eltwise,
    "Flatten": flatten,
    "PReLU": prelu,
    "Permute": permute,
    "Pooling": pooling,
    "ReLU": relu,
    "Reshape": reshape,
    "Scale": scale,
    "Slice": slice_,
    "Softmax": softmax,
    "Split": lambda layer, inputs, blobs: inputs * len(every(layer, "top")),
}
