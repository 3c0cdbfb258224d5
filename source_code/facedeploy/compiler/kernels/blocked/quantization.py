"""Between float32 tensors, planar or blocked, and blocked ones of integers: (integer - zero point) * scale."""

from typing import Any

from tvm import tirx
from tvm.tirx.script.builder import ir as T

from facedeploy.compiler.kernels.blocked.emit import (
    F32,
    argument,
    broadcast,
    fill_halo,
    for_tiles,
    kernel,
    load,
    row_of,
    splat,
    store,
    vector,
    zero_halo,
)
from facedeploy.compiler.kernels.blocked.integers import GROUP, S32, U8, store_u8, to_u8
from facedeploy.compiler.kernels.blocked.layout import Blocked
from facedeploy.compiler.kernels.blocked.planar import image_argument
from facedeploy.compiler.kernels.blocked.rows import for_vectors
from facedeploy.compiler.target import Target

PIXELS = 4  # Of a row at a time, so that their bytes are stored together.
MAKES_INTEGERS = "quantize"  # Marks the functions that `quantize` makes.


def quantize(name: str, layout: Blocked, target: Target) -> Any:
    """`name(source (N, C, H, W), scale (C,), zero point (blocks, block) u8, out)`; a PrimFunc.

    round(value / scale) + zero point, rounded to nearest, ties to even, kept from 0 to 255. Lanes behind the last
    channel become 0.
    """
    with kernel(name) as builder:
        T.func_attr({MAKES_INTEGERS: True})
        source = image_argument((layout.batch, layout.channels, layout.height, layout.width))
        scale = argument("scale", (layout.channels,))
        zero_point = argument("zero_point", (layout.blocks, layout.block), U8)
        out = argument("out", layout.shape, U8)
        flat = T.decl_buffer((_size(layout),), U8, data=out.data)
        fill_halo(out, layout, lambda block: T.Bind(load(zero_point, [block, 0], layout.block, U8)))
        with T.parallel(0, layout.batch * layout.height) as row:
            n, y = row // layout.height, row % layout.height
            for first in range(0, layout.blocks * layout.block, GROUP):
                c, lane = divmod(first, layout.block)
                channels = range(first, min(first + GROUP, layout.channels))

                def words(x: Any, lanes: int, channels: range = channels, c: int = c, lane: int = lane) -> None:
                    """Four channels of neighboring pixels, each pixel's in 32 bits."""
                    word = splat(0, lanes, S32)
                    for channel in channels:
                        value = load(source, [n, channel, y, x], lanes) / broadcast(scale[channel], lanes)
                        zero = broadcast(
                            tirx.Cast("float32", zero_point[channel // layout.block, channel % layout.block]), lanes
                        )
                        integer = tirx.Cast(vector(lanes, S32), to_u8(value, zero, lanes))
                        word = T.Bind(word | (integer << splat(8 * (channel % GROUP), lanes, S32)))
                    # (TVM does not take the reinterpretation of a constant.)
                    many = GROUP * lanes
                    pixels = T.Bind(tirx.reinterpret(vector(many, U8), word) if channels else splat(0, many, U8))
                    at = _offset(layout, n, c, y, x) + lane
                    if layout.block == GROUP:
                        store(flat, pixels, [at], GROUP * lanes)
                    else:
                        for pixel in range(lanes):
                            part = tirx.Shuffle(
                                [pixels], [tirx.const(GROUP * pixel + i, "int32") for i in range(GROUP)]
                            )
                            store(flat, part, [at + pixel * layout.block], GROUP)

                for_vectors(layout.width, target.float32_lanes, words)
    return builder.get()


def quantize_blocks(name: str, source: Blocked, layout: Blocked, target: Target) -> Any:
    """`name(source, scale (blocks, block), zero point (blocks, block) u8, out)`: `quantize` of a blocked tensor.

    The scale is in blocks of the source, and not 0 behind the last channel. Requires that the block of the integers is
    a multiple of the source's.
    """
    lanes = source.block
    with kernel(name) as builder:
        T.func_attr({MAKES_INTEGERS: True})
        data = argument("source", source.shape)
        scale = argument("scale", (source.blocks, lanes))
        zero_point = argument("zero_point", (layout.blocks, layout.block), U8)
        out = argument("out", layout.shape, U8)
        fill_halo(out, layout, lambda block: T.Bind(load(zero_point, [block, 0], layout.block, U8)))
        with T.parallel(0, source.batch * source.blocks * source.height) as part:
            n, c, y = row_of(part, source)
            (block, lane), steps, zeros = _affine(scale, zero_point, c, lanes, layout)
            zero = T.Bind(tirx.Cast(vector(lanes, F32), zeros))

            def tile(x: Any, count: int) -> None:
                place = [n, c, y + source.halo]
                values = [
                    T.Bind(load(data, [*place, x + pixel + source.halo, 0], lanes) / steps) for pixel in range(count)
                ]

                def at(pixel: int) -> list[Any]:
                    return [n, block, y + layout.halo, x + pixel + layout.halo, lane]

                store_u8(out, values, zero, at, lanes, target)

            for_tiles(source.width, PIXELS, tile)
    return builder.get()


def dequantize(name: str, layout: Blocked) -> Any:
    """`name(source, scale (C,), zero point (blocks, block) u8, out (N, C, H, W))`; a PrimFunc."""
    with kernel(name) as builder:
        source = argument("source", layout.shape, U8)
        scale = argument("scale", (layout.channels,))
        zero_point = argument("zero_point", (layout.blocks, layout.block), U8)
        out = argument("out", (layout.batch, layout.channels, layout.height, layout.width))
        with T.parallel(0, layout.batch * layout.blocks * layout.height) as part:
            n, c, y = row_of(part, layout)
            channels = T.min(layout.block, layout.channels - c * layout.block)
            with T.serial(0, channels) as lane:
                channel = T.Bind(c * layout.block + lane)
                zero, step = T.Bind(tirx.Cast(S32, zero_point[c, lane])), T.Bind(scale[channel])
                with T.serial(0, layout.width) as x:
                    integer = tirx.Cast(S32, source[n, c, y + layout.halo, x + layout.halo, lane]) - zero
                    T.buffer_store(out, tirx.Cast("float32", integer) * step, [n, channel, y, x])
    return builder.get()


def dequantize_blocks(name: str, layout: Blocked, output: Blocked) -> Any:
    """`name(source, scale (blocks, block), zero point (blocks, block) u8, out)`: `dequantize` to a blocked tensor.

    The scale is in blocks of the output. Requires that the block of the integers is a multiple of the output's.
    """
    lanes = output.block
    with kernel(name) as builder:
        source = argument("source", layout.shape, U8)
        scale = argument("scale", (output.blocks, lanes))
        zero_point = argument("zero_point", (layout.blocks, layout.block), U8)
        out = argument("out", output.shape)
        zero_halo(out, output)
        with T.parallel(0, output.batch * output.blocks * output.height) as part:
            n, c, y = row_of(part, output)
            (block, lane), steps, zeros = _affine(scale, zero_point, c, lanes, layout)
            zero = T.Bind(tirx.Cast(vector(lanes, S32), zeros))

            def tile(x: Any, count: int) -> None:
                for pixel in range(count):
                    read = load(source, [n, block, y + layout.halo, x + pixel + layout.halo, lane], lanes, U8)
                    value = tirx.Cast(vector(lanes, F32), tirx.Cast(vector(lanes, S32), read) - zero) * steps
                    store(out, value, [n, c, y + output.halo, x + pixel + output.halo, 0], lanes)

            for_tiles(output.width, PIXELS, tile)
    return builder.get()


def _affine(scale: Any, zero_point: Any, c: Any, lanes: int, layout: Blocked) -> tuple[Any, Any, Any]:
    """Of block `c` of floats: where it lies among the integers (block, lane), and their scales and zero points."""
    block, lane = c * lanes // layout.block, c * lanes % layout.block
    return (block, lane), T.Bind(load(scale, [c, 0], lanes)), load(zero_point, [block, lane], lanes, U8)


def _size(layout: Blocked) -> int:
    batch, blocks, height, width, block = layout.shape
    return batch * blocks * height * width * block


def _offset(layout: Blocked, n: Any, c: int, y: Any, x: Any) -> Any:
    """Of the first lane of a pixel in the flat buffer."""
    _, blocks, height, width, block = layout.shape
    return (((n * blocks + c) * height + y + layout.halo) * width + x + layout.halo) * block
