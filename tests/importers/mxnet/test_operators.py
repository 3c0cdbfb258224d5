"""Every operator that is covered computes what numpy makes of the symbol."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from evaluate_symbol import evaluate_symbol
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from params_file import params_bytes
from small_symbol import Net, check_outputs, without_prefix

from facedeploy.core.errors import CheckpointError
from facedeploy.importers.mxnet.import_mxnet import import_mxnet

FEW = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
SIDE = st.integers(5, 12)
PAIR = st.tuples(st.integers(1, 3), st.integers(1, 3))
PAD = st.tuples(st.integers(0, 2), st.integers(0, 2))


@FEW
@given(
    SIDE, SIDE, PAIR, PAIR, PAIR, PAD, st.sampled_from([1, 2, 4]), st.integers(1, 3), st.booleans(), st.integers(1, 2)
)
def test_convolution(
    tmp_path: Path, height: int, width: int, kernel: Any, stride: Any, dilate: Any, pad: Any, groups: int, each: int,
    no_bias: bool, batch: int,
) -> None:  # fmt: skip
    sides = zip((height, width), kernel, dilate, pad, strict=True)
    assume(all(n + 2 * p > d * (k - 1) for n, k, d, p in sides))
    net = Net()
    first = net.convolution(net.data, 3, 4)
    net.convolution(
        first, 4, groups * each, kernel, stride=stride, dilate=dilate, pad=pad, num_group=groups, no_bias=no_bias,
        layout="NCHW", workspace=1024, cudnn_tune="off",
    )  # fmt: skip
    net.check(tmp_path, (batch, 3, height, width))


@FEW
@given(SIDE, SIDE, PAIR, PAIR, PAIR, PAD, PAD, st.sampled_from([1, 2]), st.booleans(), st.booleans())
def test_deconvolution(
    tmp_path: Path, height: int, width: int, kernel: Any, stride: Any, dilate: Any, pad: Any, adjust: Any, groups: int,
    with_bias: bool, targeted: bool,
) -> None:  # fmt: skip
    adjust = tuple(min(a, s - 1) for a, s in zip(adjust, stride, strict=True))
    whole = [s * (n - 1) + d * (k - 1) + 1 for n, s, d, k in zip((height, width), stride, dilate, kernel, strict=True)]
    assume(not targeted or min(*stride, *(total - 1 for total in whole)) > 1)
    assume(targeted or all(total > 2 * p for total, p in zip(whole, pad, strict=True)))
    net = Net()
    source = net.convolution(net.data, 3, 4)
    inputs = [source, net.variable("up_weight", (4, 6 // groups, *kernel))]
    inputs += [net.variable("up_bias", (6,))] if with_bias else []
    sizes = {"target_shape": tuple(total - 1 for total in whole)} if targeted else {"pad": pad, "adj": adjust}
    net.add(
        "Deconvolution", *inputs, name="up", kernel=kernel, stride=stride, dilate=dilate, num_filter=6,
        num_group=groups, no_bias=not with_bias, **sizes,
    )  # fmt: skip
    net.check(tmp_path, (1, 3, height, width))


@FEW
@given(
    SIDE, SIDE, PAIR, PAIR, PAD, st.sampled_from(["max", "avg"]), st.sampled_from(["valid", "full"]),
    st.sampled_from([None, True, False]),
)  # fmt: skip
def test_pooling(
    tmp_path: Path, height: int, width: int, kernel: Any, stride: Any, pad: Any, kind: str, convention: str, counts: Any
) -> None:
    pad = tuple(min(p, k - 1) for p, k in zip(pad, kernel, strict=True))
    rounded = [
        -(-(n + 2 * p - k) // s) * s
        for n, p, k, s in zip((height, width), pad, kernel, stride, strict=True)
    ]  # fmt: skip
    assume(all(start < n + p for start, n, p in zip(rounded, (height, width), pad, strict=True)))
    net = Net()
    words = {} if counts is None else {"count_include_pad": counts}
    net.add(
        "Pooling", net.data, kernel=kernel, stride=stride, pad=pad, pool_type=kind, pooling_convention=convention,
        **words,
    )  # fmt: skip
    net.check(tmp_path, (1, 3, height, width))


@pytest.mark.parametrize("kind", ["max", "avg"])
def test_global_pooling_needs_no_kernel(tmp_path: Path, kind: str) -> None:
    net = Net()
    net.add("Flatten", net.add("Pooling", net.data, global_pool=True, pool_type=kind))
    net.check(tmp_path, (2, 3, 7, 9))


@pytest.mark.parametrize(
    "attributes", [{}, {"fix_gamma": False}, {"fix_gamma": "False", "eps": 2e-05, "momentum": 0.9}, {"axis": 1}]
)
def test_batch_norm_has_a_gamma_of_one_unless_told_otherwise(tmp_path: Path, attributes: dict[str, Any]) -> None:
    net = Net()
    net.batch_norm(net.data, 3, use_global_stats=True, **attributes)
    net.check(tmp_path, (1, 3, 6, 5))


@pytest.mark.parametrize("kind", ["relu", "sigmoid", "tanh", "softrelu", "softsign"])
def test_activation(tmp_path: Path, kind: str) -> None:
    net = Net()
    net.add("Activation", net.data, act_type=kind)
    net.check(tmp_path, (1, 3, 6, 5))


@pytest.mark.parametrize("attributes", [{}, {"act_type": "leaky", "slope": 0.1}, {"act_type": "elu", "slope": 0.5}])
def test_leaky_relu(tmp_path: Path, attributes: dict[str, Any]) -> None:
    net = Net()
    net.add("LeakyReLU", net.data, **attributes)
    net.check(tmp_path, (1, 3, 6, 5))


def test_prelu_has_a_slope_a_channel(tmp_path: Path) -> None:
    net = Net()
    net.add("LeakyReLU", net.data, net.variable("act_gamma", (3,)), act_type="prelu")
    net.check(tmp_path, (1, 3, 6, 5))


@FEW
@given(SIDE, SIDE, st.integers(1, 3), PAD, st.booleans(), st.booleans())
def test_up_sampling_and_crop_to_another_or_to_a_size(
    tmp_path: Path, height: int, width: int, scale: int, offset: Any, centered: bool, like: bool
) -> None:
    wide = (height * scale, width * scale)
    assume(all(side - o >= n for side, o, n in zip(wide, offset, (height, width), strict=True)) or centered)
    net = Net()
    up = net.add("UpSampling", net.data, scale=scale, sample_type="nearest", num_args=1, workspace=512)
    if like:
        net.add("Crop", up, net.data, num_args=2, offset=offset, center_crop=centered)
    else:
        net.add("Crop", up, num_args=1, h_w=(height, width), offset=offset, center_crop=centered)
    net.check(tmp_path, (1, 3, height, width))


@pytest.mark.parametrize("op", ["elemwise_add", "_Plus", "broadcast_add", "elemwise_sub", "elemwise_mul"])
def test_elementwise(tmp_path: Path, op: str) -> None:
    net = Net()
    net.add(op, net.data, net.add("Activation", net.data, act_type="tanh"))
    net.check(tmp_path, (1, 3, 6, 5))


@pytest.mark.parametrize("op", ["broadcast_add", "broadcast_mul"])
def test_broadcast_stretches_sides_of_one(tmp_path: Path, op: str) -> None:
    net = Net()
    net.add(op, net.add("Pooling", net.data, global_pool=True, pool_type="avg"), net.data)
    net.check(tmp_path, (2, 3, 6, 5))


@pytest.mark.parametrize("op", ["plus", "minus", "rminus", "mul", "div", "rdiv"])
def test_scalar_arithmetic(tmp_path: Path, op: str) -> None:
    net = Net()
    away = net.add("_plus_scalar", net.data, scalar=5)
    older = {"rminus": "_RMinusScalar", "rdiv": "_RDivScalar"}.get(op, f"_{op.capitalize()}Scalar")
    net.check(tmp_path, (1, 3, 6, 5), net.add(f"_{op}_scalar", away, scalar=-1.5), net.add(older, away, scalar="2e-1"))


@pytest.mark.parametrize(
    ("codes", "made"),
    [
        ((0, 2, -1, 0), (2, 2, 12, 5)),
        ((0, -1), (2, 120)),
        ((-1,), (240,)),
        ((-2,), (2, 4, 6, 5)),
        ((0, -2), (2, 4, 6, 5)),
        ((0, 0, -3), (2, 4, 30)),
        ((-3, -3), (8, 30)),
        ((0, -4, 2, -1, -2), (2, 2, 2, 6, 5)),
        ((0, -4, -1, 2, 0, 0), (2, 2, 2, 6, 5)),
        ((0, -4, 2, 2, -3), (2, 2, 2, 30)),
        ((-3, 0, -1), (8, 6, 5)),
        ((2, 4, 5, 6), (2, 4, 5, 6)),
    ],
)
def test_reshape_knows_the_codes(tmp_path: Path, codes: tuple[int, ...], made: tuple[int, ...]) -> None:
    net = Net()
    net.add("Reshape", net.convolution(net.data, 3, 4), shape=codes)
    model = net.check(tmp_path, (2, 3, 6, 5))
    assert tuple(side.dim_value for side in model.graph.output[0].type.tensor_type.shape.dim) == made


@pytest.mark.parametrize(
    ("op", "attributes"),
    [
        ("SoftmaxActivation", {}),
        ("SoftmaxActivation", {"mode": "channel"}),
        ("softmax", {}),
        ("softmax", {"axis": 1}),
        ("softmax", {"axis": -2, "temperature": None}),
    ],
)
def test_softmax(tmp_path: Path, op: str, attributes: dict[str, Any]) -> None:
    net = Net()
    net.add(op, net.data, **attributes)
    net.check(tmp_path, (2, 3, 6, 5))


@pytest.mark.parametrize("attributes", [{}, {"multi_output": True}, {"preserve_shape": True, "grad_scale": 1}])
def test_label_of_a_softmax_output_is_dropped(tmp_path: Path, attributes: dict[str, Any]) -> None:
    net = Net()
    net.add("SoftmaxOutput", net.data, net.variable("softmax_label"), **attributes)
    model = net.check(tmp_path, (2, 3, 6, 5))
    assert [entry.name for entry in model.graph.input] == ["data"]


@pytest.mark.parametrize(("axis", "begin", "end"), [(1, 0, 1), (1, 1, None), (2, -4, -1), (-1, 2, 5)])
def test_slice_axis(tmp_path: Path, axis: int, begin: int, end: int | None) -> None:
    net = Net()
    net.add("slice_axis", net.data, axis=axis, begin=begin, end=end)
    net.check(tmp_path, (1, 3, 6, 5))


def test_concat_joins_along_any_axis(tmp_path: Path) -> None:
    net = Net()
    other = net.add("Activation", net.data, act_type="relu")
    heads = [net.add("Concat", net.data, other, other, num_args=3, **words) for words in ({}, {"dim": 2}, {"dim": -1})]
    net.check(tmp_path, (1, 3, 6, 5), *heads)


def test_what_does_nothing_still_names_its_output(tmp_path: Path) -> None:
    net = Net()
    conv = net.convolution(net.data, 3, 4)
    last = net.add("BlockGrad", net.add("Dropout", conv, p=0.5))
    net.check(tmp_path, (1, 3, 6, 5), last, conv)


def test_one_parameter_may_serve_two_layers(tmp_path: Path) -> None:
    net = Net()
    weight = net.variable("shared_weight", (3, 3, 1, 1))
    layer = {"kernel": (1, 1), "num_filter": 3, "no_bias": True}
    net.add("Convolution", net.add("Convolution", net.data, weight, **layer), weight, **layer)
    assert len(net.check(tmp_path, (1, 3, 6, 5)).graph.initializer) == 1


def test_symbol_of_an_old_version_computes_the_same(tmp_path: Path) -> None:
    """Parameters of operators under `param`, others under `attr`, inputs of two numbers, no statistics listed."""
    net = Net()
    norm = net.batch_norm(net.convolution(net.data, 3, 4, (3, 3), stride="()"), 4, eps=0.01)
    name = net.nodes[norm]["name"]
    old = net.symbol()
    statistics = [net.nodes.index(node) for node in net.nodes if node["name"].endswith(("mean", "var"))]
    assert statistics == [norm - 2, norm - 1]
    del old["nodes"][norm - 2 : norm]
    for node in old["nodes"]:
        node["param"] = node.pop("attrs", {})
        node["attr"] = {"lr_mult": "2", "weight_wd_mult": "0", "__shape__": "(1, 2)", "ctx_group": "gpu0"}
        node["backward_source_id"] = -1
        node["inputs"] = [[index, 0] for index, *_ in node["inputs"] if index < norm - 2]
    old["heads"] = [[len(old["nodes"]) - 1, 0]]
    old["arg_nodes"] = [index for index, node in enumerate(old["nodes"]) if node["op"] == "null"]
    old["node_row_ptr"], old["attrs"] = [0], {"mxnet_version": ["int", 701]}
    (tmp_path / "s.json").write_text(json.dumps(old))
    (tmp_path / "p.params").write_bytes(params_bytes(net.params, version=1))
    model = import_mxnet(tmp_path / "s.json", tmp_path / "p.params", (1, 3, 8, 8))
    image = np.random.default_rng(2).uniform(-2, 2, (1, 3, 8, 8)).astype(np.float32)
    assert [entry.name for entry in model.graph.output] == [f"{name}_output"]
    check_outputs(model, evaluate_symbol(old, without_prefix(net.params), image), image)


def _conv(**changes: Any) -> Net:
    net = Net()
    attributes = {"kernel": (3, 3), "num_filter": 4, "no_bias": True} | changes
    net.add("Convolution", net.data, net.variable("c_weight", (4, 3, 3, 3)), name="c", **attributes)
    return net


def _one(op: str, **attributes: Any) -> Net:
    net = Net()
    net.add(op, net.data, name="c", **attributes)
    return net


@pytest.mark.parametrize(
    ("net", "said"),
    [
        (_one("ROIPooling"), "node c (ROIPooling): the operator ROIPooling is not covered"),
        (_conv(kernel="(3,)"), r"kernel: got (3,), expected two whole numbers (height, width) of 1 or more"),
        (_conv(kernel="3"), "kernel: got 3, expected whole numbers such as (3, 3)"),
        (_conv(stride=(0, 1)), "stride: got (0, 1), expected two whole numbers"),
        (_conv(num_filter="x"), "num_filter: got x, expected a whole number"),
        (_conv(num_group=2), "num_filter 4, num_group 2: expected 1 or more, and groups that divide"),
        (_conv(layout="NHWC"), "node c (Convolution): layout: got NHWC, expected NCHW or None"),
        (_conv(no_bias="maybe"), "no_bias: got maybe, expected True or False"),
        (_conv(no_bias=False), "has 2 inputs, expected 3"),
        (_conv(kernels=1), "node c (Convolution): the attribute kernels is not known here"),
        (_conv(dilate=(9, 9)), "the image is too small for this net"),
        (_conv(pad=(99999, 99999)), "the image is too large for this net"),
        (_conv(num_filter=8), "which c (Convolution) takes as its weight, has the shape [4, 3, 3, 3], not [8, 3,"),
        (_one("Activation", act_type="relu7"), "act_type: got relu7, expected relu or sigmoid"),
        (_one("Activation"), "node c (Activation): the attribute act_type is missing"),
        (_one("UpSampling", scale=2, sample_type="bilinear"), "sample_type: got bilinear, expected nearest"),
        (_one("UpSampling", scale=2, sample_type="nearest", num_args=2), "num_args: got 2, expected 1"),
        (_one("Pooling", kernel=(2, 2), pool_type="lp"), "pool_type: got lp, expected max or avg"),
        (_one("Pooling", kernel=(9, 9)), "its kernel (9, 9) does not fit into [8, 8]"),
        (_one("Pooling", kernel=(1, 1), pad=(1, 1)), "some windows see nothing"),
        (_one("Reshape", shape=(0, 5, -1)), "shape: got (0, 5, -1), which does not suit its input"),
        (_one("Reshape", shape=(0, -1, -1)), "which does not suit"),
        (_one("Reshape", shape=(0, -4, 2)), "which does not suit"),
        (_one("Reshape", shape=(0, -1), reverse=True), "reverse: got True, expected False"),
        (_one("Reshape", shape="()"), "which does not suit"),
        (_one("Crop", h_w=(9, 4)), "cannot crop [9, 4] at (0, 0) out of [8, 8]"),
        (_one("softmax", axis=4), "axis: got 4, its input has 4 dimensions"),
        (_one("slice_axis", axis=1, begin=2, end=2), "begin 2, end 2: expected a part of the 3 along axis 1"),
        (_one("_mul_scalar", scalar="nan"), "scalar: got nan, expected a number"),
        (_one("_minus_scalar", scalar="1e300"), "scalar: got 1e300, expected a number of at most 3.4e+38 (float32)"),
        (_one("Dropout", mode="always"), "mode: got always, expected training"),
        (_one("Concat", num_args=2), "has 1 inputs, expected 2"),
        (_one("LeakyReLU", act_type="rrelu"), "act_type: got rrelu, expected leaky or elu or prelu"),
    ],
)  # fmt: skip
def test_what_is_not_covered_is_one_clear_sentence(tmp_path: Path, net: Net, said: str) -> None:
    symbol, params = net.write(tmp_path)
    with pytest.raises(CheckpointError) as caught:
        import_mxnet(symbol, params, (1, 3, 8, 8))
    assert said in str(caught.value)
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_second_output_of_a_layer_is_refused(tmp_path: Path) -> None:
    net = Net()
    net.add("Activation", net.batch_norm(net.data, 3), act_type="relu")
    net.nodes[-1]["inputs"][0][1] = 1
    with pytest.raises(CheckpointError, match=r"\(BatchNorm\): its output 1 is used, only the first one is covered"):
        import_mxnet(*net.write(tmp_path), (1, 3, 8, 8))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda params: params.pop("arg:c_weight"), "the parameter c_weight is missing, which c (Convolution) takes"),
        (lambda params: params.update({"arg:c_weight": np.ones((4, 3, 3, 3), np.int8)}), "is int8, expected floats"),
        (lambda params: params.update({"arg:c_weight": np.full((4, 3, 3, 3), np.nan)}), "not finite"),
        (lambda params: params.update({"arg:c_weight": np.full((4, 3, 3, 3), 1e300)}), "not finite"),
    ],
)  # fmt: skip
def test_parameters_have_to_be_there_and_of_floats(tmp_path: Path, change: Any, said: str) -> None:
    net = _conv()
    change(net.params)
    symbol, params = net.write(tmp_path)
    with pytest.raises(CheckpointError) as caught:
        import_mxnet(symbol, params, (1, 3, 8, 8))
    assert str(caught.value).startswith(f"{params}: ")
    assert said in str(caught.value)


@pytest.mark.parametrize("kind", [np.float16, np.float64])
def test_halves_and_doubles_become_floats(tmp_path: Path, kind: type) -> None:
    net = _conv()
    net.params["arg:c_weight"] = net.params["arg:c_weight"].astype(kind)
    assert len(net.check(tmp_path, (1, 3, 8, 8)).graph.initializer) == 1


def test_parameters_of_another_net_are_refused(tmp_path: Path) -> None:
    net = _conv()
    net.params |= {f"arg:fc{number}_weight": np.ones((2, 2), np.int64) for number in range(5)}
    symbol, params = net.write(tmp_path)
    with pytest.raises(CheckpointError) as caught:
        import_mxnet(symbol, params, (1, 3, 8, 8))
    assert str(caught.value) == (
        f"{params}: has 5 parameters that {symbol} has no node for (fc0_weight, fc1_weight, fc2_weight, and 2 more): "
        "take the two files of one net, or save the parameters without these"
    )


def test_parameters_that_a_node_has_may_go_unread(tmp_path: Path) -> None:
    """Such as the gamma of a BatchNorm that fixes it, and what no output depends on."""
    net = _conv()
    last = net.batch_norm(len(net.nodes) - 1, 4)
    net.convolution(last, 4, 2)
    net.check(tmp_path, (1, 3, 8, 8), last)


def test_label_that_is_not_dropped_is_refused(tmp_path: Path) -> None:
    net = Net()
    net.add("elemwise_add", net.data, net.variable("label"))
    with pytest.raises(CheckpointError, match="its input label is no image and not computed"):
        import_mxnet(*net.write(tmp_path), (1, 3, 8, 8))


def test_heads_are_layers_that_see_the_image_each_once(tmp_path: Path) -> None:
    net = _conv()
    last = len(net.nodes) - 1
    refused = {
        (0,): "is an output of the symbol, expected a layer",
        (1,): "its outputs do not depend on an input of the name data",
        (last, last): "is an output of the symbol twice",
    }
    for heads, said in refused.items():
        with pytest.raises(CheckpointError, match=said):
            import_mxnet(*net.write(tmp_path, *heads), (1, 3, 8, 8))
