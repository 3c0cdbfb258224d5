"""An image laid on a canvas as a model's first layer reads it, by one TIR function: resize, offset, fill, order of the
channels, normalization, layout.

The canvas's pixels equal OpenCV's INTER_LINEAR on u8 to the bit, in a third of the time where there is AVX-512. That
is: weights rounded to 1/2048; along a row exact, less the last four bits; between two rows the high 16 bits of each
product, added and rounded. The canvas itself is nowhere but for the row in hand.
"""

from typing import Any

from tvm import tirx
from tvm.script.ir_builder import IRBuilder
from tvm.tirx.script.builder import ir as T

from facedeploy.compiler.kernels.blocked.emit import for_lanes, load, splat, store, vector
from facedeploy.compiler.kernels.byte_window import ByteWindow
from facedeploy.compiler.kernels.canvas_rows import READ_BEHIND, CanvasRows
from facedeploy.compiler.passes.schedule_kernels import KERNEL
from facedeploy.compiler.passes.skip_argument_checks import PUBLIC

I16, I32, F32, F64, U8 = "int16", "int32", "float32", "float64", "uint8"
WEIGHT_ONE = 2048.0
BYTES = 64  # That columns between two rows take at once.
VIEW_ARGUMENTS = ("position", "content_h", "content_w", "top", "left", "swap", "fill_0", "fill_1", "fill_2")


def letterbox(name: str, window: ByteWindow, rows: CanvasRows) -> Any:
    """Build `name(image, tensor, position, content_h, content_w, top, left, swap, fill_0, fill_1, fill_2, ...)`.

    In: image (h, w, 3) u8 of any size; int32 scalars: which image of the batch it is, then px: the size that it is
    resized to, where its corner then lies on the canvas (also outside, what sticks out is cut), whether red and blue
    change places, the canvas elsewhere; what `rows` asks for.
    Out, written in place: that image of the tensor, as `rows` lays it out. An image has fewer than 2^31 bytes. Returns
    a tirx PrimFunc.
    """
    with IRBuilder() as builder, T.prim_func(s_tir=True):
        T.func_name(name)
        T.func_attr({"global_symbol": name, "tirx.noalias": True, KERNEL: name, PUBLIC: True})
        h, w = (tirx.Var(side, I32) for side in ("h", "w"))
        image = T.arg("image", T.buffer((h, w, 3), U8, align=1))
        height, width = rows.tensor()
        position, content_h, content_w, top, left, swap, *fill = (T.arg(name, T.int32()) for name in VIEW_ARGUMENTS)
        rows.begin(position)
        line = T.alloc_buffer((3 * width + READ_BEHIND,), U8, scope="global")
        with T.serial(0, width) as x:
            for channel, value in enumerate(fill):
                T.buffer_store(line, T.Cast(U8, value), [3 * x + channel])
        first_x, past_x = _visible(left, content_w, width)
        first_y, past_y = _visible(top, content_h, height)
        columns = T.Bind(past_x - first_x)
        row = _Row(image, width, columns, swap, window)
        row.weigh(first_x - left, content_w)
        row.look_ahead(content_h)
        with T.serial(0, height) as index:
            # Those below the content come first, and then those above it, while the line still is blank.
            below = T.Bind(height - past_y)
            y = T.Bind(tirx.Select(index < below, past_y + index, index - below))
            with T.If(tirx.all(y >= first_y, y < past_y)), T.Then():
                above, under, part = _between(y - top, h, content_h)
                with T.serial(0, 2) as which:
                    row.resize(T.Bind(tirx.Select(which == 0, above, under)))
                row.mix(line, first_x, (above, under), part)
            rows.write(line, y)
    return builder.get()


class _Row:
    """Two rows of the image, resized along the row; which two is by parity, since one of them often comes again.

    A step resizes as many pixels as have both of theirs in one window of the row. Of its two pixels, a column takes the
    one that counts more and adds a part of their difference, which 16 bits hold: the weights are 2048 together.
    """

    def __init__(self, image: Any, width: Any, columns: Any, swap: Any, window: ByteWindow) -> None:
        self.image, self.columns, self.swap, self.window = image, columns, swap, window
        self.h, self.w, _ = image.shape
        # Of each column: bytes from the start of the row, and weights. The last step has lanes beyond the columns.
        self.near, self.far, self.near_weight, self.far_weight = (
            T.alloc_buffer((width + window.lanes,), I32, scope="global") for _ in range(4)
        )
        # Of each step: where its window starts, and for each lane what it picks there, and -32 times a weight.
        self.start = T.alloc_buffer((width,), I32, scope="global")
        self.more, self.less, self.weights = (
            T.alloc_buffer((window.lanes * width,), I16, scope="global") for _ in range(3)
        )
        self.rows = T.alloc_buffer((2, 3 * width + window.lanes), I16, scope="global")
        self.held = T.alloc_buffer((2,), I32, scope="global")
        self.steps = T.alloc_buffer((1,), I32, scope="global")

    def weigh(self, skipped: Any, content: Any) -> None:
        """Find the two pixels and weights of each column; `skipped` columns of `content` lie left of the canvas."""
        window, lanes = self.window, self.window.lanes
        # Two pixels of one column take two of the window's, those k columns further lie k * w / content behind them.
        spare = window.bytes // 3 - 2
        self.at_once = T.Bind(tirx.Min(tirx.const(lanes // 3, I32), spare * content // self.w + 1))
        steps = (self.columns + self.at_once - 1) // self.at_once
        T.buffer_store(self.steps, tirx.Select(self.w * 3 >= window.bytes, steps, 0), [0])
        with T.serial(0, self.columns + lanes) as x:
            start, part = _place(x + skipped, self.w, content)
            inside = T.Bind(tirx.all(start >= 0, start < self.w - 1))
            part = T.Bind(tirx.Select(inside, part, splat(0.0, 1)))
            near = T.Bind(tirx.Max(tirx.const(0, I32), tirx.Min(start, self.w - 1)))
            T.buffer_store(self.near, near * 3, [x])
            T.buffer_store(self.far, tirx.Min(near + 1, self.w - 1) * 3, [x])
            weights = [T.Bind(_weight(weight)) for weight in (splat(1.0, 1) - part, part)]
            T.buffer_store(self.near_weight, weights[0], [x])
            T.buffer_store(self.far_weight, weights[1], [x])
            with T.If(weights[0] + weights[1] != int(WEIGHT_ONE)), T.Then():
                T.buffer_store(self.steps, 0, [0])  # Both were rounded up: in rows of more than 8,192 px that may be.
        with T.serial(0, self.steps[0]) as step:
            first = T.Bind(step * self.at_once)
            start = T.Bind(tirx.Min(self.near[first], self.w * 3 - window.bytes))
            T.buffer_store(self.start, start, [step])
            last = tirx.Min(first + self.at_once, self.columns) - 1
            with T.If(self.far[last] + 3 > start + window.bytes), T.Then():
                T.buffer_store(self.steps, 0, [0])  # Rounded apart, in rows of thousands of pixels.
            with T.serial(0, lanes) as lane:
                x = T.Bind(first + lane // 3)
                swapped = T.Bind(self.far_weight[x] > self.near_weight[x])
                channel = T.Bind(tirx.Select(self.swap == 0, lane % 3, 2 - lane % 3) - start)
                more, less = (
                    tirx.Select(swapped, self.far[x], self.near[x]),
                    tirx.Select(swapped, self.near[x], self.far[x]),
                )
                for table, byte in ((self.more, more), (self.less, less)):
                    T.buffer_store(table, T.Cast(I16, window.index(byte + channel)), [step * lanes + lane])
                weight = tirx.Min(self.near_weight[x], self.far_weight[x])
                T.buffer_store(self.weights, T.Cast(I16, weight * -32), [step * lanes + lane])
        for parity in range(2):
            T.buffer_store(self.held, -1, [parity])

    def look_ahead(self, content: Any) -> None:
        """Say how far behind the row in hand lies the one that is wanted after it, of `content` pairs of rows."""
        self.ahead = T.Bind(tirx.Max(tirx.const(2, I32), self.h // content))

    def resize(self, y: Any) -> None:
        """Have row `y` of the image."""
        with T.If(self.held[y % 2] != y), T.Then():
            T.buffer_store(self.held, y, [y % 2])
            with T.serial(0, self.steps[0]) as step:
                self._step(y, step)
            with T.If(self.steps[0] == 0), T.Then(), T.serial(0, self.columns) as x, T.serial(0, 3) as channel:
                source = tirx.Select(self.swap == 0, channel, 2 - channel)
                near, far = (T.Cast(I32, self.image[y, 0, at[x] + source]) for at in (self.near, self.far))
                total = near * self.near_weight[x] + far * self.far_weight[x]
                T.buffer_store(self.rows, T.Cast(I16, total >> 4), [y % 2, 3 * x + channel])

    def _step(self, y: Any, step: Any) -> None:
        lanes = self.window.lanes
        # A third of the time was waiting for memory: the processor foresees no more than a page.
        ahead = tirx.address_of(self.image[y + self.ahead, 0, self.start[step]])
        T.evaluate(tirx.call_llvm_intrin("void", "llvm.prefetch.p0", ahead, *map(tirx.IntImm, (I32,) * 3, (0, 3, 1))))
        opened = self.window.open(T.Bind(load(self.image, [y, 0, self.start[step]], self.window.bytes, U8)))
        more, less = (
            T.Bind(self.window.pick(opened, load(table, [step * lanes], lanes, I16)))
            for table in (self.more, self.less)
        )
        part = _high_half(more - less, load(self.weights, [step * lanes], lanes, I16), lanes)
        # What lies beyond the step's pixels, the next one writes again.
        store(self.rows, more + part, [y % 2, 3 * self.at_once * step], lanes)

    def mix(self, line: Any, x: Any, rows: tuple[Any, Any], part: Any) -> None:
        """Write the pixels between two rows that are there, from column x of the canvas on."""
        start = T.Bind(3 * x)
        weights = [T.Bind(T.Cast(I16, _weight(weight))) for weight in (splat(1.0, 1) - part, part)]

        def write(at: Any, lanes: int) -> None:
            halves = []
            for row, weight in zip(rows, weights, strict=True):
                value = load(self.rows, [row % 2, at], lanes, I16)
                every = weight if lanes == 1 else tirx.Broadcast(weight, lanes)
                halves.append(_high_half(value, every, lanes))
            value = (halves[0] + halves[1] + splat(2, lanes, I16)) >> splat(2, lanes, I16)
            store(line, T.Cast(vector(lanes, U8), value), [start + at], lanes)

        for_lanes(T.Bind(self.columns * 3), BYTES, write)


def _high_half(value: Any, weight: Any, lanes: int) -> Any:
    """The high 16 bits of the products of i16."""
    product = T.Cast(vector(lanes, I32), value) * T.Cast(vector(lanes, I32), weight)
    return T.Cast(vector(lanes, I16), product >> splat(16, lanes, I32))


def _visible(start: Any, size: Any, canvas: Any) -> tuple[Any, Any]:
    """The first px of the content on the canvas along an axis, and the one after its last."""
    first = T.Bind(tirx.Min(canvas, tirx.Max(tirx.const(0, I32), start)))
    return first, T.Bind(tirx.Max(first, tirx.Min(canvas, start + size)))


def _place(index: Any, size: Any, content: Any) -> tuple[Any, Any]:
    """Which of `size` px lies before px `index` of `content`, and how far behind it that is: 0..1."""
    scale = tirx.const(1.0, F64) / (T.Cast(F64, content) / T.Cast(F64, size))
    at = T.Bind(T.Cast(F32, (T.Cast(F64, index) + tirx.const(0.5, F64)) * scale - tirx.const(0.5, F64)))
    start = T.Bind(T.Cast(I32, tirx.floor(at)))
    return start, T.Bind(at - T.Cast(F32, start))


def _between(index: Any, size: Any, content: Any) -> tuple[Any, Any, Any]:
    """The rows about row `index` of `content`, at the edges those of the image, and the part of the second."""
    start, part = _place(index, size, content)
    above, below = (T.Bind(tirx.Max(tirx.const(0, I32), tirx.Min(row, size - 1))) for row in (start, start + 1))
    return above, below, part


def _weight(part: Any) -> Any:
    return T.Cast(I32, tirx.nearbyint(part * splat(WEIGHT_ONE, 1)))
