"""Max and average pooling of blocked tensors: any kernel, stride and padding."""

from typing import Any

from tvm import tirx
from tvm.tirx.script.builder import ir as T

from facedeploy.compiler.kernels.blocked.direct import Window
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
    zero_halo,
)
from facedeploy.compiler.kernels.blocked.layout import Blocked

MAX, AVERAGE, AVERAGE_PADDED = "max", "average", "average_padded"
PIXELS = 4  # Of a row at a time; their windows are independent, which hides the latency of a maximum.
UNROLLED = 8  # Kernel columns; wider kernels are a loop.


def pooling(name: str, source: Blocked, output: Blocked, window: Window, kind: str, dtype: str = F32) -> Any:
    """`name(source, output)`; a PrimFunc. Source and output have the same channels and block; no halo is read.

    Of u8, which has maxima alone, `name(source, zero point (blocks, block), output)`.

    `kind`: what lies outside of the image does not count in `max` and `average`; in `average_padded` it counts as zero.
    Requires a dilation of 1, and that every window has a pixel of the image.
    """
    lanes = source.block
    least = -3.4028234663852886e38 if kind == MAX and dtype == F32 else 0
    (kernel_h, kernel_w), (stride_h, stride_w), (top, left) = window.kernel, window.stride, window.padding
    start, end = _inside(output.width, source.width, kernel_w, stride_w, left)
    with kernel(name) as builder:
        data = argument("source", source.shape, dtype)
        zero_point = None if dtype == F32 else argument("zero_point", (output.blocks, lanes), dtype)
        out = argument("out", output.shape, dtype)
        if zero_point is None:
            zero_halo(out, output)
        else:
            fill_halo(out, output, lambda block: T.Bind(load(zero_point, [block, 0], lanes, dtype)))
        with T.parallel(0, output.batch * output.blocks * output.height) as part:
            n, c, y = row_of(part, output)
            # Rows of the window that lie in the image.
            first_row = T.Bind(T.max(0, y * stride_h - top))
            rows = T.Bind(T.min(source.height, y * stride_h - top + kernel_h) - first_row)

            def add_column(best: Any, pixel: int, row: Any, column: Any) -> None:
                value = load(data, [n, c, first_row + row + source.halo, column + source.halo, 0], lanes, dtype)
                before = load(best, [pixel, 0], lanes, dtype)
                store(best, tirx.Max(before, value) if kind == MAX else before + value, [pixel, 0], lanes)

            def pixels(x: Any, count: int, checked: bool) -> None:
                best = T.alloc_buffer((count, lanes), dtype, scope="local")
                for pixel in range(count):
                    store(best, splat(least, lanes, dtype), [pixel, 0], lanes)
                begin = (x * stride_w - left) if not checked else T.Bind(T.max(0, x * stride_w - left))
                columns = kernel_w
                if checked:
                    columns = T.Bind(T.min(source.width, x * stride_w - left + kernel_w) - begin)
                with T.serial(0, rows) as row:
                    if not checked and kernel_w <= UNROLLED:
                        for column in range(kernel_w):
                            for pixel in range(count):
                                add_column(best, pixel, row, begin + pixel * stride_w + column)
                    else:
                        with T.serial(0, columns) as column:
                            for pixel in range(count):
                                add_column(best, pixel, row, begin + pixel * stride_w + column)
                share = None
                if kind != MAX:
                    number = kernel_h * kernel_w if kind == AVERAGE_PADDED else rows * columns
                    share = broadcast(tirx.const(1.0, "float32") / tirx.Cast("float32", number), lanes)
                for pixel in range(count):
                    value = load(best, [pixel, 0], lanes, dtype)
                    place = [n, c, y + output.halo, x + pixel + output.halo, 0]
                    store(out, value if share is None else value * share, place, lanes)

            def border(low: int, high: int) -> None:
                if high > low:
                    with T.serial(low, high) as x:
                        pixels(x, 1, checked=True)

            border(0, start)
            for_tiles(end - start, PIXELS, lambda x, count: pixels(start + x, count, checked=False))
            border(end, output.width)
    return builder.get()


def _inside(outputs: int, inputs: int, kernel: int, stride: int, padding: int) -> tuple[int, int]:
    """The outputs [start, end) of an axis whose windows lie in the image."""
    start = min(-(-padding // stride), outputs)
    end = min((inputs - kernel + padding) // stride + 1 if inputs + padding >= kernel else 0, outputs)
    return (start, end) if end > start else (outputs, outputs)
