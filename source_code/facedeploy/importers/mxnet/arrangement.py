"""Concat, Reshape, Flatten, slice_axis, and the layers that do nothing in a trained net: numbers move, or stay."""

from math import prod

from facedeploy.importers.mxnet.graph import Layer, Operators, Shape, Tensor

SAME, INFERRED, REST, JOINED, SPLIT = 0, -1, -2, -3, -4  # What a number of a Reshape's shape means below 1.


def _concat(layer: Layer) -> Tensor:
    axis = layer.attributes.whole("dim", 1)
    count = layer.attributes.whole("num_args", len(layer.inputs))
    layer.attributes.finish()
    layer.expect_inputs(count)
    parts = [layer.data(index) for index in range(max(count, 1))]
    shapes = [part.shape for part in parts]
    axis = _axis(layer, "dim", axis, len(shapes[0]))
    if len({(len(shape), shape[:axis], shape[axis + 1 :]) for shape in shapes}) > 1:
        layer.refuse(
            f"its inputs have the shapes {', '.join(str(list(shape)) for shape in shapes)}, which do not match"
        )
    made = (*shapes[0][:axis], sum(shape[axis] for shape in shapes), *shapes[0][axis + 1 :])
    return layer.emit("Concat", [part.name for part in parts], made, axis=axis)


def _reshape(layer: Layer) -> Tensor:
    codes = layer.attributes.wholes("shape")
    layer.attributes.only("reverse", "False", "false", "0")
    layer.attributes.only("target_shape", "(0, 0)", "(0,0)", "()", "None")
    layer.attributes.only("keep_highest", "False", "false", "0")
    layer.attributes.finish()
    layer.expect_inputs(1)
    data = layer.data()
    made = _reshaped(layer, codes, data.shape)
    # ONNX has the first two codes as well, which hold for other sizes of the input too.
    plain = bool(codes) and min(codes) >= INFERRED
    return layer.emit("Reshape", [data.name, layer.constant("shape", codes if plain else made, "int64")], made)


def _reshaped(layer: Layer, codes: Shape, sides: Shape) -> Shape:
    """The shape that the codes make of `sides`; each takes the next of these, or what its meaning says."""

    def wrong() -> Shape:
        layer.refuse(f"shape: got {codes}, which does not suit its input of the shape {list(sides)}")

    made: list[int] = []
    left, coming = list(sides), list(codes)
    while coming:
        code = coming.pop(0)
        needed = {SAME: 1, JOINED: 2, SPLIT: 1}.get(code, 0)
        if code < SPLIT or len(left) < needed:
            return wrong()
        if code == REST:
            made += left
            left = []
        elif code == JOINED:
            made.append(left.pop(0) * left.pop(0))
        elif code == SPLIT:
            side = left.pop(0)
            if len(coming) < 2:
                return wrong()
            parts = [coming.pop(0), coming.pop(0)]
            known = max(parts)
            parts = [side // known if part == INFERRED else part for part in parts] if known > 0 else parts
            if min(parts) < 1 or prod(parts) != side:
                return wrong()
            made += parts
        else:
            taken = left.pop(0) if left else 0
            made.append(taken if code == SAME else code)
    if made.count(INFERRED) == 1:
        made[made.index(INFERRED)] = prod(sides) // -prod(made)
    return tuple(made) if made and min(made) > 0 and prod(made) == prod(sides) else wrong()


def _flatten(layer: Layer) -> Tensor:
    layer.attributes.finish()
    layer.expect_inputs(1)
    data = layer.data()
    return layer.emit("Flatten", [data.name], (data.shape[0], prod(data.shape[1:])), axis=1)


def _slice_axis(layer: Layer) -> Tensor:
    axis, begin = layer.attributes.whole("axis"), layer.attributes.whole("begin")
    end = layer.attributes.optional_whole("end")
    layer.attributes.finish()
    layer.expect_inputs(1)
    data = layer.data()
    axis = _axis(layer, "axis", axis, len(data.shape))
    side = data.shape[axis]
    first = begin + side if begin < 0 else begin
    last = side if end is None else end + side if end < 0 else end
    if not 0 <= first < last <= side:
        layer.refuse(f"begin {begin}, end {end}: expected a part of the {side} along axis {axis}")
    # An end past all sides stays the end for other sizes of the input too.
    bounds = [begin, 2**31 - 1 if end is None else end]
    starts, ends = (layer.constant(name, [at], "int64") for name, at in zip(("begin", "end"), bounds, strict=True))
    made = (*data.shape[:axis], last - first, *data.shape[axis + 1 :])
    return layer.emit("Slice", [data.name, starts, ends, layer.constant("axis", [axis], "int64")], made)


def _dropout(layer: Layer) -> Tensor:
    layer.attributes.only("mode", "training")
    layer.attributes.finish("p", "axes")
    layer.expect_inputs(1)
    return layer.data()


def _identity(layer: Layer) -> Tensor:
    layer.attributes.finish()
    layer.expect_inputs(1)
    return layer.data()


def _axis(layer: Layer, key: str, axis: int, rank: int) -> int:
    if not -rank <= axis < rank:
        layer.refuse(f"{key}: got {axis}, its input has {rank} dimensions")
    return axis % rank


OPERATORS: Operators = {
    **dict.fromkeys(("Concat", "concat"), _concat),
    **dict.fromkeys(("Reshape", "reshape"), _reshape),
    **dict.fromkeys(("Flatten", "flatten"), _flatten),
    "slice_axis": _slice_axis,
    "Dropout": _dropout,
    **dict.fromkeys(("identity", "_copy", "BlockGrad", "stop_gradient"), _identity),
}
