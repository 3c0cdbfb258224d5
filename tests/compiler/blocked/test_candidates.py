"""Every candidate of a kernel equals PyTorch's operators, on every level this machine has."""

import numpy as np
import pytest
from runner import FloatArray, channel_blocks, random, run, source_of, targets

from facedeploy.compiler.kernels.blocked.candidates import by_model, dense_convolution, separable
from facedeploy.compiler.kernels.blocked.direct import Source, Window
from facedeploy.compiler.kernels.blocked.emit import Epilogue
from facedeploy.compiler.kernels.blocked.layout import (
    Blocked,
    block_of,
    pack_bias,
    pack_dense,
    pack_depthwise,
    to_blocked,
)
from facedeploy.compiler.kernels.blocked.winograd import pack_winograd
from facedeploy.compiler.target import Target

torch = pytest.importorskip("torch", reason="the oracle of the convolutions is torch")
TARGETS = targets()
level = pytest.mark.parametrize("target", TARGETS, ids=[target.name for target in TARGETS])


def convolve(x: FloatArray, weights: FloatArray, bias: FloatArray, window: Window, groups: int = 1) -> FloatArray:
    tensors = (torch.from_numpy(array) for array in (x, weights, bias))
    return torch.relu(torch.nn.functional.conv2d(*tensors, window.stride, window.padding, groups=groups)).numpy()


def assert_same(buffer: FloatArray, layout: Blocked, expected: FloatArray) -> None:
    assert np.abs(buffer - to_blocked(expected, layout)).max() <= 1e-4 * max(1.0, float(np.abs(expected).max()))


@level
@pytest.mark.parametrize(
    ("window", "channels", "algorithms"),
    [
        (Window((3, 3), padding=(1, 1)), (80, 40), {"winograd", "direct"}),
        (Window((1, 1)), (144, 70), {"direct"}),
        (Window((3, 3), (2, 2), (1, 1)), (20, 8), {"direct"}),
    ],
    ids=["3x3", "1x1", "strided"],
)
def test_dense_candidates_equal_torch(
    target: Target, window: Window, channels: tuple[int, int], algorithms: set[str]
) -> None:
    (inputs, outputs), (height, width) = channels, (8, 12)
    x, weights = random((1, inputs, height, width)), random((outputs, inputs, *window.kernel), 1, 0.1)
    bias = random((outputs,), 2)
    expected = convolve(x, weights, bias, window)
    source = source_of(x.shape, window, expected.shape[2:])
    output = Blocked(1, outputs, *expected.shape[2:], block_of(outputs), 1)
    choice = dense_convolution([source], output, window, Epilogue(0.0), target)
    assert {candidate.algorithm for candidate in choice.candidates} == algorithms
    assert len({str(candidate) for candidate in choice.candidates}) == len(choice.candidates) > 1
    assert by_model(choice) == (choice.candidates[0], choice.candidates[0].reason)
    for candidate in choice.candidates:
        pack = pack_winograd if candidate.algorithm == "winograd" else pack_dense
        packed = pack(weights, channel_blocks([source]), source.layout.block, output.block)
        arguments = [to_blocked(x, source.layout), packed, pack_bias(bias, output.block)]
        (got,) = run(candidate.build("dense"), target, arguments, [output.shape])
        assert_same(got, output, expected)


@pytest.mark.parametrize(
    ("stride", "channels", "hw", "algorithm"),
    [
        (1, 64, (8, 8), "winograd"),
        (1, 64, (159, 159), "winograd"),
        (1, 64, (19, 19), "winograd"),
        (1, 64, (10, 10), "direct"),
        (1, 64, (1, 640), "direct"),
        (1, 8, (16, 16), "direct"),
        (2, 64, (159, 159), "winograd"),
        (2, 32, (159, 159), "direct"),
        (2, 64, (19, 19), "direct"),
    ],
)
def test_winograd_is_chosen_where_it_was_faster(
    stride: int, channels: int, hw: tuple[int, int], algorithm: str
) -> None:
    window = Window((3, 3), (stride, stride), (1, 1))
    source = source_of((1, channels, hw[0] * stride, hw[1] * stride), window, hw)
    output = Blocked(1, channels, *hw, block_of(channels))
    choice = dense_convolution([source], output, window, Epilogue(), TARGETS[0])
    assert choice.candidates[0].algorithm == algorithm


@level
def test_separable_candidates_equal_torch(target: Target) -> None:
    window = Window((3, 3), padding=(1, 1))
    x, depth_weights, depth_bias = random((1, 24, 8, 13)), random((24, 1, 3, 3), 1), random((24,), 2)
    weights, bias = random((70, 24, 1, 1), 3), random((70,), 4)
    middle = convolve(x, depth_weights, depth_bias, window, 24)
    expected = convolve(middle, weights, bias, Window((1, 1)))
    source = source_of(x.shape, window, (8, 13)).layout
    output = Blocked(1, 70, 8, 13, 16, 1)
    between = Source(Blocked(1, 24, 8, 13, source.block), 0, source.blocks)
    choice = separable(source, output, window, 0.0, Epilogue(0.0), target)
    assert len({str(candidate) for candidate in choice.candidates}) == len(choice.candidates)
    for candidate in choice.candidates:
        arguments = [
            *(to_blocked(x, source), pack_depthwise(depth_weights, source.block), pack_bias(depth_bias, source.block)),
            *(pack_dense(weights, channel_blocks([between]), source.block, 16), pack_bias(bias, 16)),
        ]
        (got,) = run(candidate.build("separable"), target, arguments, [output.shape])
        assert_same(got, output, expected)


def test_specification_tells_kernels_apart() -> None:
    target, window = TARGETS[0], Window((3, 3), padding=(1, 1))
    source, output = source_of((1, 16, 8, 8), window, (8, 8)), Blocked(1, 16, 8, 8, 16, 1)
    found = {
        dense_convolution([source], output, window, Epilogue(), target).specification,
        dense_convolution([source], output, window, Epilogue(0.0), target).specification,
        dense_convolution([source], output, window, Epilogue(residual=output), target).specification,
        dense_convolution([source, source], output, window, Epilogue(), target).specification,
        dense_convolution([source], Blocked(1, 16, 8, 8, 16, 0), window, Epilogue(), target).specification,
        separable(source.layout, output, window, 0.0, Epilogue(), target).specification,
        separable(source.layout, output, window, 1.0, Epilogue(), target).specification,
    }
    assert len(found) == 7
