"""Between planar (NCHW) and blocked tensors: where a blocked part of a graph begins and ends."""

from typing import Any

from tvm import tirx
from tvm.tirx.script.builder import ir as T

from facedeploy.compiler.kernels.blocked.emit import argument, kernel, row_of, zero_halo
from facedeploy.compiler.kernels.blocked.layout import Blocked


def planar_to_blocked(name: str, layout: Blocked) -> Any:
    """`name(source (N, C, H, W), out)`; a PrimFunc. Lanes behind the last channel become zero."""
    with kernel(name) as builder:
        source = argument("source", (layout.batch, layout.channels, layout.height, layout.width))
        out = argument("out", layout.shape)
        zero_halo(out, layout)
        with T.parallel(0, layout.batch * layout.blocks) as part:
            n, c = part // layout.blocks, part % layout.blocks
            with T.serial(0, layout.height) as y, T.serial(0, layout.width) as x:
                for lane in range(layout.block):
                    channel = c * layout.block + lane
                    value = source[n, channel, y, x]
                    if layout.channels % layout.block and lane >= layout.channels % layout.block:
                        inside = channel < layout.channels
                        value = tirx.if_then_else(inside, value, tirx.const(0.0, "float32"))
                    T.buffer_store(out, value, [n, c, y + layout.halo, x + layout.halo, lane])
    return builder.get()


def blocked_to_planar(name: str, layout: Blocked) -> Any:
    """`name(source, out (N, C, H, W))`; a PrimFunc."""
    with kernel(name) as builder:
        source = argument("source", layout.shape)
        out = argument("out", (layout.batch, layout.channels, layout.height, layout.width))
        with T.parallel(0, layout.batch * layout.blocks * layout.height) as part:
            n, c, y = row_of(part, layout)
            # Channel by channel of one row, which stays in L1 meanwhile.
            channels = T.min(layout.block, layout.channels - c * layout.block)
            with T.serial(0, channels) as lane, T.serial(0, layout.width) as x:
                place = [n, c, y + layout.halo, x + layout.halo, lane]
                T.buffer_store(out, source[tuple(place)], [n, c * layout.block + lane, y, x])
    return builder.get()
