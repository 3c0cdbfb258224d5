"""Each type of layer computes what Caffe defines, over the sizes and parameters that it may have."""

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from facedeploy.core.errors import CheckpointError

quick = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
few = settings(quick, max_examples=15)
PAIRS = st.sampled_from(["square", "listed", "sides"])


def layer(kind: str, parameters: str = "", bottoms=("data",), tops=("out",), name: str = "it") -> str:
    blobs = " ".join([f'bottom: "{bottom}"' for bottom in bottoms] + [f'top: "{top}"' for top in tops])
    return f'layer {{ name: "{name}" type: "{kind}" {blobs} {parameters} }}\n'


def written(form: str, key: str, stem: str, height: int, width: int) -> str:
    """A pair as a prototxt may have it."""
    if form == "sides" and stem:
        return f"{stem}_h: {height} {stem}_w: {width}"
    return f"{key}: {height}" if height == width and form == "square" else f"{key}: {height} {key}: {width}"


def draws(*shape: int):
    return np.random.default_rng(7).standard_normal(shape)


@quick
@given(
    groups=st.integers(1, 3),
    inputs=st.integers(1, 3),
    outputs=st.integers(1, 3),
    sides=st.tuples(st.integers(1, 13), st.integers(1, 13)),
    kernel=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    pad=st.tuples(st.integers(0, 2), st.integers(0, 2)),
    dilation=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    biased=st.booleans(),
    batch=st.integers(1, 2),
    form=PAIRS,
    transposed=st.booleans(),
)
def test_convolution_and_deconvolution(
    check_net, groups, inputs, outputs, sides, kernel, stride, pad, dilation, biased, batch, form, transposed
) -> None:
    for side, taps, jump, before, step in zip(sides, kernel, stride, pad, dilation, strict=True):
        reach = step * (taps - 1) + 1
        assume(jump * (side - 1) + reach > 2 * before if transposed else side + 2 * before >= reach)
    parameters = " ".join(
        [
            f"num_output: {groups * outputs} group: {groups} bias_term: {str(biased).lower()}",
            written(form, "kernel_size", "kernel", *kernel),
            written(form, "stride", "stride", *stride),
            written(form, "pad", "pad", *pad),
            written(form, "dilation", "", *dilation),
            'weight_filler { type: "bilinear" } engine: CAFFE',
        ]
    )
    shape = (groups * inputs, outputs, *kernel) if transposed else (groups * outputs, inputs, *kernel)
    blobs = [draws(*shape), *([draws(groups * outputs)] if biased else [])]
    kind = "Deconvolution" if transposed else "Convolution"
    text = layer(kind, f"convolution_param {{ {parameters} }}")
    check_net(text, {"it": blobs}, (batch, groups * inputs, *sides))


@quick
@given(
    sides=st.tuples(st.integers(1, 13), st.integers(1, 13)),
    kernel=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    stride=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    pad=st.tuples(st.integers(0, 3), st.integers(0, 3)),
    average=st.booleans(),
    floor=st.booleans(),
    form=PAIRS,
)
def test_pooling(check_net, import_net, sides, kernel, stride, pad, average, floor, form) -> None:
    assume(all(before < taps <= side + 2 * before for before, taps, side in zip(pad, kernel, sides, strict=True)))
    pairs = [
        written(form, "kernel_size", "kernel", *kernel),
        written(form, "stride", "stride", *stride),
        written(form, "pad", "pad", *pad),
    ]
    rounding = "round_mode: FLOOR" if floor else ""
    text = layer("Pooling", f"pooling_param {{ pool: {'AVE' if average else 'MAX'} {' '.join(pairs)} {rounding} }}")
    rooms = [side + 2 * before - taps for side, before, taps in zip(sides, pad, kernel, strict=True)]
    last = [
        (room // jump if floor else -(-room // jump)) * jump - before
        for room, jump, before in zip(rooms, stride, pad, strict=True)
    ]
    if any(begin >= side and not before for begin, side, before in zip(last, sides, pad, strict=True)):
        with pytest.raises(CheckpointError, match=r"layer it \(Pooling\): pooling_param.* does not fit|a window of"):
            import_net(text, {}, (1, 2, *sides))
    else:
        check_net(text, {}, (1, 2, *sides))


@few
@given(sides=st.tuples(st.integers(1, 9), st.integers(1, 9)), average=st.booleans())
def test_global_pooling(check_net, sides, average) -> None:
    check_net(
        layer("Pooling", f"pooling_param {{ pool: {'AVE' if average else 'MAX'} global_pooling: true }}"),
        {},
        (2, 3, *sides),
    )


@few
@given(
    weight=st.sampled_from([0.0, 1.0, 37.5]),
    eps=st.sampled_from(["", "eps: 1e-05", "eps: 0.01"]),
    biased=st.booleans(),
    in_place=st.booleans(),
    second=st.booleans(),
    between=st.booleans(),
    legacy=st.booleans(),
)
def test_batch_norm_and_scale(check_net, weight, eps, biased, in_place, second, between, legacy) -> None:
    """One node, however the layers are written, but where another layer reads what is between them."""
    normal = "data" if in_place and not between else "normal"
    middle = "scaled" if between else normal
    parameters = f"scale_param {{ bias_term: {str(biased).lower()} }}"
    text = layer("BatchNorm", f"batch_norm_param {{ use_global_stats: true {eps} }}", ["data"], [normal], "bn")
    text += layer("Scale", parameters, [normal], [middle], "first")
    text += layer("Scale", parameters, [middle], [middle], "second") if second else ""
    text += layer("ReLU", "", [normal], ["aside"], "aside") if between else ""
    text += layer("ReLU", "", [middle], ["out"], "relu")
    scaled = [draws(3), draws(3)] if biased else [draws(3)]
    blobs = {"bn": [draws(3), np.abs(draws(3)) * 40 + 1, np.array([weight])], "first": scaled}
    blobs |= {"second": scaled} if second else {}
    model = check_net(text, blobs, (2, 3, 4, 5), legacy=legacy)
    kinds = [node.op_type for node in model.graph.node]
    assert kinds == (["BatchNormalization", "Relu"] if not between else kinds)


@few
@given(axis=st.integers(-4, 3), axes=st.integers(-1, 4), biased=st.booleans())
def test_scale_of_other_axes(check_net, axis, axes, biased) -> None:
    shape, first = (2, 3, 4, 5), axis % 4
    assume(first + axes <= 4)
    scaled = shape[first:] if axes == -1 else shape[first : first + axes]
    blobs = {"it": [draws(*scaled)] * (2 if biased else 1)}
    text = f"scale_param {{ axis: {axis} num_axes: {axes} bias_term: {str(biased).lower()} }}"
    check_net(layer("Scale", text), blobs, shape)


@pytest.mark.parametrize("slope", ["", "relu_param { negative_slope: 0.1 }", "relu_param { engine: CUDNN }"])
def test_relu(check_net, slope) -> None:
    check_net(layer("ReLU", slope), {}, (2, 3, 4, 5))


@pytest.mark.parametrize(
    ("parameters", "slopes"),
    [("", (3,)), ("prelu_param { channel_shared: true }", (1,)), ("prelu_param { channel_shared: true }", ())],
)
def test_prelu(check_net, parameters, slopes) -> None:
    check_net(layer("PReLU", parameters), {"it": [draws(*slopes)]}, (2, 3, 4, 5))


@pytest.mark.parametrize("operation", ["", "operation: SUM coeff: 1 coeff: 1", "operation: PROD", "operation: MAX"])
@pytest.mark.parametrize("count", [2, 3])
def test_eltwise(check_net, operation, count) -> None:
    text = "".join(
        layer("ReLU", f"relu_param {{ negative_slope: -{n}.5 }}", ["data"], [f"b{n}"], f"b{n}") for n in (1, 2)
    )
    bottoms = ["data", "b1", "b2"][:count]
    text += layer("Eltwise", f"eltwise_param {{ {operation} }}", bottoms, ["out"])
    text += layer("ReLU", "", ["b2"], ["last"], "last")
    check_net(text, {}, (1, 2, 3, 4))


@pytest.mark.parametrize("axis", [0, 1, 2, 3, -1, -3])
def test_axes_of_softmax_concat_and_slice(check_net, axis) -> None:
    shape = (2, 6, 4, 6)
    half = shape[axis] // 2
    text = layer("Slice", f"slice_param {{ axis: {axis} slice_point: {half} }}", tops=["a", "b"], name="slice")
    text += layer("Softmax", f"softmax_param {{ axis: {axis} }}", ["a"], ["soft"], "soft")
    text += layer("Concat", f"concat_param {{ axis: {axis} }}", ["b", "soft", "a"], ["out"], "cat")
    check_net(text, {}, shape)


def test_slice_into_equal_parts_and_names_of_several_tops(check_net) -> None:
    text = layer("Slice", tops=["a", "b", "c"], name="slice") + layer(
        "Split", bottoms=["b"], tops=["d", "e"], name="two"
    )
    model = check_net(text, {}, (1, 6, 2, 3))
    assert [output.name for output in model.graph.output] == ["a", "c", "d", "e"]


@quick
@given(
    axis=st.integers(-4, 3),
    offsets=st.lists(st.integers(0, 2), min_size=4, max_size=4),
    form=st.sampled_from(["none", "one", "each"]),
    reference=st.tuples(*[st.integers(1, 4)] * 4),
)
def test_crop(check_net, axis, offsets, form, reference) -> None:
    first = axis % 4
    used = {"none": [0] * 4, "one": [offsets[0]] * 4, "each": offsets}[form]
    # From one side to the next, the second blob is the data with its first sides cut.
    sides = [side + (used[place] if place >= first else 0) for place, side in enumerate(reference)]
    points = []
    blob = "data"
    for place, (side, wanted) in enumerate(zip(sides, reference, strict=True)):
        if place >= first and side > wanted:
            cut = f"slice_param {{ axis: {place} slice_point: {wanted} }}"
            points.append(layer("Slice", cut, [blob], [f"r{place}", f"rest{place}"], f"slice{place}"))
            blob = f"r{place}"
    written_offsets = {
        "none": "",
        "one": f"offset: {offsets[0]}",
        "each": " ".join(f"offset: {n}" for n in used[first:]),
    }
    text = "".join(points) + layer("ReLU", "", [blob], ["reference"], "relu")
    text += layer("Crop", f"crop_param {{ axis: {axis} {written_offsets[form]} }}", ["data", "reference"], ["out"])
    check_net(text, {}, tuple(sides))


@pytest.mark.parametrize(
    "parameters",
    [
        "shape { dim: 0 dim: 3 dim: -1 dim: 0 }",
        "shape { dim: 3 dim: -1 dim: 0 } axis: 1",
        "shape { dim: 0 dim: -1 }",
        "shape { dim: -1 }",
        "shape { dim: [2, 6, 20] }",
        "shape { dim: 3 dim: 2 } axis: 1 num_axes: 1",
        "shape { dim: 5 dim: -1 } axis: -3 num_axes: 2",
        "shape { dim: 1 } axis: 2 num_axes: 0",
        "shape { dim: 1 } axis: -1",
        "shape { dim: 0 dim: 0 dim: 0 dim: 0 dim: 1 }",
    ],
)
def test_reshape(check_net, import_net, parameters) -> None:
    text = layer("Reshape", f"reshape_param {{ {parameters} }}")
    if parameters.startswith("shape { dim: 0 dim: 0 dim: 0 dim: 0 dim: 1"):
        check_net(text, {}, (2, 6, 4, 5))
    elif "[" in parameters:  # A list, which the definitions here do not read.
        model = import_net(text, {}, (2, 6, 4, 5))
        assert [side.dim_value for side in model.graph.output[0].type.tensor_type.shape.dim] == [2, 6, 20]
    else:
        check_net(text, {}, (2, 6, 4, 5))


@few
@given(first=st.integers(-4, 3), last=st.integers(-4, 3))
def test_flatten(check_net, first, last) -> None:
    assume(first % 4 <= last % 4)
    check_net(layer("Flatten", f"flatten_param {{ axis: {first} end_axis: {last} }}"), {}, (2, 3, 4, 5))


@few
@given(order=st.permutations(range(4)), named=st.integers(1, 4))
def test_permute(check_net, order, named) -> None:
    orders = " ".join(f"order: {axis}" for axis in order[:named])
    check_net(layer("Permute", f"permute_param {{ {orders} }}"), {}, (2, 3, 4, 5))


def test_dropout_does_nothing(check_net) -> None:
    check_net(layer("Dropout", "dropout_param { dropout_ratio: 0.3 }"), {}, (2, 3, 4, 5))


@pytest.mark.parametrize(
    ("text", "blobs", "problem"),
    [
        (layer("LRN"), {}, r"line 2: the layer it \(LRN\): type: this type of layer is not supported, expected one of"),
        (layer("ReLU", "relu_param { slope: 1 }"), {}, r"the layer it \(ReLU\): relu_param.slope: is not supported"),
        (layer("ReLU", "relu_param { negative_slope: 1e39 }"), {}, "got 1e39, expected a number of at most 3.4e"),
        (
            layer("BatchNorm"),
            {"it": [[1, 1, 1], [1, 1, 1], [1e-40]]},
            r"layer it \(BatchNorm\) make numbers that are not",
        ),
        (
            layer("BatchNorm", tops=["a"])
            + layer("Scale", "", ["a"], ["b"], "s")
            + layer("Scale", "", ["b"], name="t"),
            {"it": [draws(3), draws(3), [1]], "s": [[1e30] * 3], "t": [[1e30] * 3]},
            r"layer t \(Scale\) make numbers that are not finite",
        ),
        (layer("ReLU", "pooling_param { }"), {}, "pooling_param: is not supported"),
        (
            layer("Pooling", "pooling_param { pool: STOCHASTIC kernel_size: 2 }"),
            {},
            "pool: got STOCHASTIC, expected one",
        ),
        (layer("Pooling", "pooling_param { }"), {}, "kernel_size: is there 0 times"),
        (layer("Pooling", "pooling_param { kernel_size: 2 pad: 2 }"), {}, "padding of .* is as large"),
        (layer("Pooling", "pooling_param { kernel_size: 9 }"), {}, "does not fit into"),
        (layer("Pooling", "pooling_param { kernel_size: 2 stride_h: 2 }"), {}, "stride_w: is missing"),
        (layer("Pooling", "pooling_param { kernel_size: 2 kernel_h: 2 }"), {}, "beside kernel_h and kernel_w"),
        (layer("Convolution", "convolution_param { kernel_size: 1 }"), {}, "num_output: is missing"),
        (layer("Convolution", "convolution_param { num_output: 2.5 }"), {}, "got 2.5, expected a whole number"),
        (
            layer("Convolution", "convolution_param { num_output: 4 group: 3 }"),
            {},
            "group: got 3, which does not divide",
        ),
        (
            layer("Convolution", "convolution_param { num_output: 2 kernel_size: 1 }"),
            {},
            r"the layer it \(Convolution\) needs 2 blobs of parameters, the file has none",
        ),
        (
            layer("Convolution", "convolution_param { num_output: 2 kernel_size: 1 }"),
            {"it": [draws(2, 3, 1, 1), draws(3)]},
            r"blob 1 has the shape \[3\], the net needs \[2\]",
        ),
        (layer("BatchNorm", "batch_norm_param { use_global_stats: false }"), {}, "by the batch at hand"),
        (layer("BatchNorm"), {"it": [draws(3), draws(3)]}, "needs 3 blobs of parameters, the file has 2"),
        (
            layer("Eltwise", "eltwise_param { coeff: 1 coeff: -1 }", ["data", "data"]),
            {},
            "coeff: a factor other than 1",
        ),
        (layer("Eltwise"), {}, "expected two or more of one shape"),
        (layer("Crop"), {}, "bottom: got 1 blobs, expected 2"),
        (layer("Scale", "", ["data", "data"]), {}, "bottom: got 2 blobs, expected 1"),
        (layer("Softmax", "softmax_param { axis: 4 }"), {}, "axis: got 4, the blob has 4 axes"),
        (layer("Reshape", "reshape_param { shape { dim: 0 dim: 7 dim: -1 } }"), {}, "does not hold the 60 values"),
        (layer("Reshape", "reshape_param { shape { dim: 0 } shape { dim: 1 } }"), {}, "shape: is there 2 times"),
        (layer("Slice", "slice_param { slice_point: 5 }", tops=["a", "b"]), {}, "does not cut 3 into 2 parts"),
        (layer("Permute", "permute_param { order: 0 order: 0 }"), {}, "each once"),
        (layer("Flatten", "flatten_param { axis: 2 end_axis: 1 }"), {}, "before axis 2"),
    ],
)
def test_what_is_not_supported_is_named(import_net, text, blobs, problem) -> None:
    with pytest.raises(CheckpointError, match=problem):
        import_net(text, blobs, (1, 3, 4, 5))
