"""Each blocked kernel equals PyTorch's operators, halo and unused lanes included, on every level this machine has."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from runner import FloatArray, channel_blocks, random, run, source_of, targets

from facedeploy.compiler.kernels.blocked.conversion import blocked_to_planar, planar_to_blocked
from facedeploy.compiler.kernels.blocked.depthwise import depthwise_convolution, separable_convolution
from facedeploy.compiler.kernels.blocked.direct import Source, Window, direct_convolution
from facedeploy.compiler.kernels.blocked.emit import Epilogue
from facedeploy.compiler.kernels.blocked.heads import Level, Output, heads_convolution
from facedeploy.compiler.kernels.blocked.layout import (
    Blocked,
    block_of,
    from_blocked,
    pack_bias,
    pack_dense,
    pack_depthwise,
    to_blocked,
)
from facedeploy.compiler.kernels.blocked.planar import pack_planar, planar_convolution
from facedeploy.compiler.kernels.blocked.winograd import (
    group_of,
    pack_winograd,
    winograd_convolution,
    winograd_tiles,
)
from facedeploy.compiler.target import Target

torch = pytest.importorskip("torch", reason="the oracle of the convolutions is torch")
TARGETS = targets()
SLOPES = st.sampled_from([0.0, 0.1, 1.0])
level = pytest.mark.parametrize("target", TARGETS, ids=[target.name for target in TARGETS])


def convolve(x: FloatArray, weights: FloatArray, bias: FloatArray, window: Window, groups: int = 1) -> FloatArray:
    tensors = (torch.from_numpy(array) for array in (x, weights, bias))
    result = torch.nn.functional.conv2d(*tensors, window.stride, window.padding, window.dilation, groups)
    return result.numpy()


def activated(x: FloatArray, slope: float) -> FloatArray:
    return np.maximum(x, x * np.float32(slope)) if slope < 1 else x


def assert_blocked(buffer: FloatArray, layout: Blocked, expected: FloatArray) -> None:
    """The numbers are right, and all others are zero."""
    got = from_blocked(buffer, layout)
    assert np.abs(got - expected).max() <= 1e-4 * max(1.0, float(np.abs(expected).max()))
    assert np.array_equal(to_blocked(got, layout), buffer)


@level
@given(data=st.data())
@settings(max_examples=3, deadline=None)
def test_direct_convolution_equals_torch(target: Target, data: st.DataObject) -> None:
    draw = data.draw
    kernel = (draw(st.integers(1, 5)), draw(st.integers(1, 5)))
    window = Window(
        kernel,
        (draw(st.integers(1, 3)), draw(st.integers(1, 3))),
        (draw(st.integers(0, 2)), draw(st.integers(0, 2))),
        (draw(st.integers(1, 2)), draw(st.integers(1, 2))),
    )
    batch, inputs, outputs = draw(st.integers(1, 2)), draw(st.integers(1, 37)), draw(st.integers(1, 70))
    height, width = draw(st.integers(9, 14)), draw(st.integers(9, 23))
    x, weights, bias = (
        random((batch, inputs, height, width)),
        random((outputs, inputs, *kernel), 1),
        random((outputs,), 2),
    )
    slope = draw(SLOPES)
    expected = activated(convolve(x, weights, bias, window), slope)
    source = source_of(x.shape, window, expected.shape[2:], draw(st.integers(0, 1)))
    output = Blocked(batch, outputs, *expected.shape[2:], block_of(outputs), draw(st.integers(0, 2)))
    function, _ = direct_convolution("direct", [source], output, window, Epilogue(slope), target)
    packed = pack_dense(weights, channel_blocks([source]), source.layout.block, output.block)
    arguments = [to_blocked(x, source.layout), packed, pack_bias(bias, output.block)]
    (got,) = run(function, target, arguments, [output.shape])
    assert_blocked(got, output, expected)


@level
@pytest.mark.parametrize("family", ["direct", "winograd"])
@pytest.mark.parametrize(("upsample", "hw"), [(1, (8, 12)), (2, (8, 12)), (2, (10, 14)), (1, (5, 7))])
def test_convolution_of_several_sources_with_residual_equals_torch(
    target: Target, family: str, upsample: int, hw: tuple[int, int]
) -> None:
    window = Window((3, 3), padding=(1, 1))
    first, second = random((2, 48, *hw)), random((2, 16, *hw), 1)
    x = np.concatenate([first[:, 16:], second], axis=1)
    weights, bias = random((40, 48, 3, 3), 2, 0.1), random((40,), 3)
    small = random((2, 40, hw[0] // upsample, hw[1] // upsample), 4)
    large = small.repeat(upsample, 2).repeat(upsample, 3)
    slopes = (0.0, 0.1, 1.0)
    plain = convolve(x, weights, bias, window)
    mixed = np.concatenate([activated(plain[:, i * 16 : i * 16 + 16], slope) for i, slope in enumerate(slopes)], axis=1)
    expected = activated(mixed + large, 0.1)
    layouts = [Blocked(2, 48, *hw, 16, 1), Blocked(2, 16, *hw, 16, 2)]
    sources = [Source(layouts[0], 1, 2), Source(layouts[1], 0, 1)]
    output, residual = Blocked(2, 40, *hw, 16, 1), Blocked(2, 40, *small.shape[2:], 16, 1)
    epilogue = Epilogue(slopes, residual, upsample, 0.1)
    blocks = channel_blocks(sources)
    if family == "winograd":
        function, _ = winograd_convolution("winograd", sources, output, epilogue, target)
        packed = pack_winograd(weights, blocks, 16, 16)
    else:
        function, _ = direct_convolution("direct", sources, output, window, epilogue, target)
        packed = pack_dense(weights, blocks, 16, 16)
    arguments = [to_blocked(first, layouts[0]), to_blocked(second, layouts[1]), packed, pack_bias(bias, 16)]
    (got,) = run(function, target, [*arguments, to_blocked(small, residual)], [output.shape])
    assert_blocked(got, output, expected)


@level
@given(data=st.data())
@settings(max_examples=4, deadline=None)
def test_winograd_convolution_equals_torch(target: Target, data: st.DataObject) -> None:
    draw = data.draw
    batch, inputs, outputs = draw(st.integers(1, 2)), draw(st.integers(1, 37)), draw(st.integers(1, 50))
    stride, padding = draw(st.integers(1, 2)), (draw(st.integers(0, 2)), draw(st.integers(0, 2)))
    height, width = draw(st.integers(3, 26)), draw(st.integers(3, 30))
    window, slope = Window((3, 3), (stride, stride), padding), draw(SLOPES)
    x, weights, bias = (
        random((batch, inputs, height, width)),
        random((outputs, inputs, 3, 3), 1, 0.2),
        random((outputs,), 2),
    )
    expected = activated(convolve(x, weights, bias, window), slope)
    source = source_of(x.shape, window, expected.shape[2:], draw(st.integers(0, 3)))
    output = Blocked(batch, outputs, *expected.shape[2:], block_of(outputs), draw(st.integers(0, 2)))
    function, _ = winograd_convolution("winograd", [source], output, Epilogue(slope), target, window=window)
    packed = pack_winograd(weights, channel_blocks([source]), source.layout.block, output.block, stride)
    (got,) = run(
        function, target, [to_blocked(x, source.layout), packed, pack_bias(bias, output.block)], [output.shape]
    )
    assert_blocked(got, output, expected)


@level
def test_winograd_convolution_in_groups_of_output_blocks_equals_torch(target: Target) -> None:
    """Transforms and products of 6 output blocks would not fit L2 together: 4 come first, then 2."""
    x, weights, bias = random((1, 128, 32, 32)), random((90, 128, 3, 3), 1, 0.1), random((90,), 2)
    window = Window((3, 3), padding=(1, 1))
    source, output = source_of(x.shape, window, (32, 32)), Blocked(1, 90, 32, 32, 16, 1)
    tile = replace(winograd_tiles([source], output, target)[0], blocks=2, rows=8)
    assert group_of(tile, [source], output) == 4
    function, _ = winograd_convolution("winograd", [source], output, Epilogue(0.1), target, tile)
    packed = pack_winograd(weights, channel_blocks([source]), 16, 16)
    (got,) = run(function, target, [to_blocked(x, source.layout), packed, pack_bias(bias, 16)], [output.shape])
    assert_blocked(got, output, activated(convolve(x, weights, bias, window), 0.1))


@level
@given(data=st.data())
@settings(max_examples=2, deadline=None)
def test_depthwise_and_separable_convolution_equal_torch(target: Target, data: st.DataObject) -> None:
    draw = data.draw
    kernel, stride = draw(st.sampled_from([(3, 3), (5, 3), (1, 4)])), draw(st.integers(1, 2))
    window = Window(
        kernel, (stride, stride), (draw(st.integers(0, 2)), draw(st.integers(0, 1))), (1, draw(st.integers(1, 2)))
    )
    batch, channels, outputs = draw(st.integers(1, 2)), draw(st.integers(2, 40)), draw(st.integers(1, 70))
    height, width = draw(st.integers(8, 13)), draw(st.integers(8, 30))
    x, slope, after = random((batch, channels, height, width)), draw(SLOPES), draw(SLOPES)
    depth_weights, depth_bias = random((channels, 1, *kernel), 1), random((channels,), 2)
    middle = activated(convolve(x, depth_weights, depth_bias, window, channels), slope)
    source = source_of(x.shape, window, middle.shape[2:]).layout
    between = Blocked(batch, channels, *middle.shape[2:], source.block, 1)
    arguments = [
        to_blocked(x, source),
        pack_depthwise(depth_weights, source.block),
        pack_bias(depth_bias, source.block),
    ]
    function, _ = depthwise_convolution("depthwise", source, between, window, slope, target)
    (got,) = run(function, target, arguments, [between.shape])
    assert_blocked(got, between, middle)

    weights, bias = random((outputs, channels, 1, 1), 3), random((outputs,), 4)
    expected = activated(convolve(middle, weights, bias, Window((1, 1))), after)
    output = Blocked(batch, outputs, *expected.shape[2:], block_of(outputs), 1)
    function, _ = separable_convolution("separable", source, output, window, slope, Epilogue(after), target)
    packed = pack_dense(weights, channel_blocks([Source(between, 0, between.blocks)]), source.block, output.block)
    (got,) = run(function, target, [*arguments, packed, pack_bias(bias, output.block)], [output.shape])
    assert_blocked(got, output, expected)


@level
@given(data=st.data())
@settings(max_examples=3, deadline=None)
def test_planar_convolution_equals_torch(target: Target, data: st.DataObject) -> None:
    draw = data.draw
    kernel = (draw(st.sampled_from([1, 3, 7])), draw(st.sampled_from([1, 3, 7])))
    window = Window(kernel, (draw(st.integers(1, 2)),) * 2, (draw(st.integers(0, 3)), draw(st.integers(0, 3))))
    batch, inputs, outputs = draw(st.integers(1, 2)), draw(st.integers(1, 4)), draw(st.integers(1, 40))
    height, width = draw(st.integers(7, 17)), draw(st.integers(7, 33))
    x, weights, bias = (
        random((batch, inputs, height, width)),
        random((outputs, inputs, *kernel), 1),
        random((outputs,), 2),
    )
    slope = draw(SLOPES)
    expected = activated(convolve(x, weights, bias, window), slope)
    output = Blocked(batch, outputs, *expected.shape[2:], block_of(outputs), draw(st.integers(0, 1)))
    function, _ = planar_convolution("planar", x.shape, output, window, slope, target)
    (got,) = run(
        function, target, [x, pack_planar(weights, output.block), pack_bias(bias, output.block)], [output.shape]
    )
    assert_blocked(got, output, expected)


@level
@pytest.mark.parametrize("shape", [(2, 5, 7, 9), (1, 64, 4, 4), (1, 20, 3, 8)])
def test_conversions_invert_each_other(target: Target, shape: tuple[int, int, int, int]) -> None:
    x, layout = random(shape), Blocked(*shape, block_of(shape[1]), 2)
    (buffer,) = run(planar_to_blocked("pack", layout), target, [x], [layout.shape])
    assert np.array_equal(buffer, to_blocked(x, layout))
    (back,) = run(blocked_to_planar("unpack", layout), target, [buffer], [shape])
    assert np.array_equal(back, x)


@level
@pytest.mark.parametrize(
    ("batch", "channels", "sizes", "outputs"),
    [
        (1, 32, [(8, 10), (4, 5)], [Output(8, 4), Output(4, 2, softmax=True), Output(20, 10)]),
        (2, 20, [(3, 5), (2, 3), (1, 1)], [Output(3, 1), Output(2, 2, softmax=True), Output(5, 5)]),
    ],
)
def test_heads_equal_torch(
    target: Target, batch: int, channels: int, sizes: list[tuple[int, int]], outputs: list[Output]
) -> None:
    levels, arguments = [], []
    rows: list[list[FloatArray]] = [[] for _ in outputs]
    total = sum(output.channels for output in outputs)
    for index, hw in enumerate(sizes):
        x, weights, bias = (
            random((batch, channels, *hw), index),
            random((total, channels, 1, 1), 9),
            random((total,), index),
        )
        source = source_of(x.shape, Window((1, 1)), hw, extra_halo=1)
        pixels = convolve(x, weights, bias, Window((1, 1))).transpose(0, 2, 3, 1)
        start = 0
        for output, parts in zip(outputs, rows, strict=True):
            part = pixels[..., start : start + output.channels].reshape(batch, -1, output.width)
            parts.append(torch.from_numpy(part).softmax(dim=2).numpy() if output.softmax else part)
            start += output.channels
        levels.append(Level((source,)))
        packed = pack_dense(weights, channel_blocks([source]), source.layout.block, 16)
        arguments += [to_blocked(x, source.layout), packed, pack_bias(bias, 16)]
    function, _ = heads_convolution("heads", levels, outputs, target)
    expected = [np.concatenate(parts, axis=1) for parts in rows]
    got = run(function, target, arguments, [part.shape for part in expected])
    for result, reference in zip(got, expected, strict=True):
        assert np.abs(result - reference).max() <= 1e-4 * max(1.0, float(np.abs(reference).max()))
