"""A cascade equals its layers run one after the other in PyTorch, whatever the rows, rings, threads and widths."""

import numpy as np
import pytest
import tvm
from hypothesis import given, settings
from hypothesis import strategies as st
from runner import FloatArray, channel_blocks, random, run, targets

from facedeploy.compiler.kernels.blocked.cascade import FirstLayerSpec, SeparableSpec, cascade
from facedeploy.compiler.kernels.blocked.direct import Source, Window
from facedeploy.compiler.kernels.blocked.layout import (
    Blocked,
    block_of,
    from_blocked,
    pack_bias,
    pack_dense,
    pack_depthwise,
    to_blocked,
)
from facedeploy.compiler.kernels.blocked.planar import pack_planar
from facedeploy.compiler.target import Target

torch = pytest.importorskip("torch", reason="the oracle of the convolutions is torch")
TARGETS = targets()
level = pytest.mark.parametrize("target", TARGETS, ids=[target.name for target in TARGETS])


class Chain:
    """Layers, their weights as a cascade takes them, and what torch makes of them."""

    def __init__(self, x: FloatArray, layers: list[tuple[int, Window]], first: bool) -> None:
        self.x, self.first = x, first
        self.arguments: list[FloatArray] = []
        self.specs: list[FirstLayerSpec | SeparableSpec] = []
        halos = [max(0, *window.padding) for _, window in layers]
        current, channels = torch.from_numpy(x), x.shape[1]
        self.source: Blocked | tuple[int, int, int, int] = x.shape  # type: ignore[assignment]
        if not first:
            reads = self._halo(layers[0][1], x.shape[2:])
            self.source = Blocked(*x.shape, block_of(channels), max(halos[0], reads))
        for index, (outputs, window) in enumerate(layers):
            slope = (0.0, 0.1, 1.0)[index % 3]
            current = self._layer(current, channels, outputs, window, slope, dense=first and index == 0)
            following = layers[index + 1][1] if index + 1 < len(layers) else Window((1, 1))
            halo = self._halo(following, current.shape[2:])
            layout = Blocked(*current.shape, block_of(outputs), halo)
            if first and index == 0:
                self.specs.append(FirstLayerSpec(window, slope, layout))
            else:
                self.specs.append(SeparableSpec(window, 0.1, slope, layout))
            channels = outputs
        self.expected = current.numpy()

    def _halo(self, window: Window, hw: tuple[int, int]) -> int:
        out = [
            (hw[axis] + 2 * window.padding[axis] - (window.kernel[axis] - 1) * window.dilation[axis] - 1)
            // window.stride[axis]
            + 1
            for axis in range(2)
        ]
        return window.halo(hw, (out[0], out[1]))

    def _layer(self, x, channels: int, outputs: int, window: Window, slope: float, dense: bool):  # type: ignore[no-untyped-def]
        seed = len(self.arguments)
        kernel = window.kernel
        conv = torch.nn.functional.conv2d
        geometry = (window.stride, window.padding, window.dilation)
        bias = random((outputs,), seed + 1)
        if dense:
            weights = random((outputs, channels, *kernel), seed, 0.3)
            self.arguments += [pack_planar(weights, block_of(outputs)), pack_bias(bias, block_of(outputs))]
            result = conv(x, torch.from_numpy(weights), torch.from_numpy(bias), *geometry)
            return torch.maximum(result, result * slope)
        depth, depth_bias = random((channels, 1, *kernel), seed + 2, 0.5), random((channels,), seed + 3)
        point = random((outputs, channels, 1, 1), seed + 4, 0.3)
        inner = block_of(channels)
        middle = Source(Blocked(1, channels, 1, 1, inner), 0, -(-channels // inner))
        self.arguments += [
            pack_depthwise(depth, inner),
            pack_bias(depth_bias, inner),
            pack_dense(point, channel_blocks([middle]), inner, block_of(outputs)),
            pack_bias(bias, block_of(outputs)),
        ]
        between = conv(x, torch.from_numpy(depth), torch.from_numpy(depth_bias), *geometry, channels)
        between = torch.maximum(between, between * 0.1)
        result = conv(between, torch.from_numpy(point), torch.from_numpy(bias))
        return torch.maximum(result, result * slope)

    def check(self, target: Target) -> None:
        function, tiles = cascade("cascade", self.source, self.specs, target)
        assert len(tiles) == len(self.specs)
        data = to_blocked(self.x, self.source) if isinstance(self.source, Blocked) else self.x
        output = self.specs[-1].output
        (buffer,) = run(function, target, [data, *self.arguments], [output.shape])
        got = from_blocked(buffer, output)
        assert np.abs(got - self.expected).max() <= 1e-4 * max(1.0, float(np.abs(self.expected).max()))
        assert np.array_equal(to_blocked(got, output), buffer)


SAME, HALF = Window((3, 3), (1, 1), (1, 1)), Window((3, 3), (2, 2), (1, 1))
MOBILENET = [(8, HALF), (16, SAME), (32, HALF), (32, SAME), (64, HALF), (64, SAME)]


@level
@pytest.mark.parametrize("threads", [1, 2])
def test_cascade_equals_torch_when_it_is_the_start_of_mobilenet(target: Target, threads: int) -> None:
    before = tvm.get_global_func("runtime.NumThreads")()
    tvm.get_global_func("runtime.config_threadpool")(1, threads)
    try:
        Chain(random((2, 3, 139, 86)), MOBILENET, first=True).check(target)
    finally:
        tvm.get_global_func("runtime.config_threadpool")(1, before)


@level
@given(data=st.data())
@settings(max_examples=3, deadline=None)
def test_cascade_equals_torch(target: Target, data: st.DataObject) -> None:
    draw = data.draw

    def window() -> Window:
        kernel = (draw(st.sampled_from([1, 3, 5])), draw(st.sampled_from([1, 3, 5])))
        stride, dilation = draw(st.integers(1, 2)), draw(st.integers(1, 2))
        return Window(
            kernel, (stride, draw(st.integers(1, 2))), (draw(st.integers(0, 2)), draw(st.integers(0, 2))), (dilation, 1)
        )

    first = draw(st.booleans())
    layers = [(draw(st.integers(1, 35)), window()) for _ in range(draw(st.integers(2, 3)))]
    channels = draw(st.integers(1, 4)) if first else draw(st.integers(1, 40))
    shape = (draw(st.integers(1, 2)), channels, draw(st.integers(60, 80)), draw(st.integers(60, 80)))
    Chain(random(shape), layers, first).check(target)
