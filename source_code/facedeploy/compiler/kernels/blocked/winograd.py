"""3x3 convolution by Winograd's algorithm, in tiles of 4x4 outputs: 36 products where the direct way needs 144.

Of stride 2, where the kernel's outer taps see other pixels than the inner one, 81.

Source: Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", arXiv:1509.09308.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from tvm.tirx.script.builder import ir as T

from facedeploy.compiler.kernels.blocked.direct import PANEL_BYTES, Source, Window
from facedeploy.compiler.kernels.blocked.emit import (
    Epilogue,
    accumulators,
    add_products,
    argument,
    complete,
    for_tiles,
    kernel,
    load,
    share,
    splat,
    store,
    zero_halo,
)
from facedeploy.compiler.kernels.blocked.layout import LANES, Blocked, FloatArray
from facedeploy.compiler.kernels.blocked.tiling import L2_BYTES, Tile, differing_tiles
from facedeploy.compiler.kernels.blocked.winograd_schemes import OUT, SCHEMES, Scheme
from facedeploy.compiler.target import Target

UNIT = Window((3, 3), padding=(1, 1))
MIN_PIXELS = 12  # Fewer do not fill registers.
SLAB_BYTES = 9 * L2_BYTES // 4  # Transforms are used in the order in which they were made: a few may leave L2 before.
PRODUCTS_BYTES = 3 * L2_BYTES // 2  # Of products that stay in L2 while transforms pass through it.
WRITE_COST = 5  # Of a byte written beyond L2, in bytes read: the line is read, written, and read again.
REUSE_PIXELS = 40  # Whose products take as long as their weights take from beyond L2.
# Pixels of tiles for each of the output, at most; of few tiles fewer, since weights come from beyond L2 for them.
MOST_WASTE, MANY_TILES = 2.0, 32
MOST_WASTE_STRIDED, MANY_CHANNELS = 1.25, 64  # Fewer products are saved, beside more transforms.
GROUP = 4  # Output blocks of the largest tile.


def tiles_of(output: Blocked) -> tuple[int, int]:
    """Rows and columns of tiles. The last of either may reach beyond the output."""
    return -(-output.height // OUT), -(-output.width // OUT)


def takes(window: Window) -> bool:
    """Whether there is a scheme for it."""
    stride = window.stride[0]
    return (
        window.kernel == (3, 3)
        and window.stride == (stride, stride)
        and window.dilation == (1, 1)
        and stride in SCHEMES
    )


def pays(sources: Sequence[Source], output: Blocked, window: Window) -> bool:
    """Whether products saved outweigh transforms, and products of pixels beyond the output."""
    inputs, outputs = _channels(sources), output.channels
    tiles_h, tiles_w = tiles_of(output)
    tiles, pixels = tiles_h * tiles_w, output.height * output.width
    waste = tiles * OUT * OUT / pixels
    if window.stride == (2, 2):
        return min(inputs, outputs) >= MANY_CHANNELS and tiles >= MANY_TILES and waste <= MOST_WASTE_STRIDED
    return outputs >= LANES and waste <= min(MOST_WASTE, 1 + tiles / MANY_TILES)


def pack_winograd(
    weights: FloatArray, source_blocks: list[list[int]], block_in: int, block_out: int, stride: int = 1
) -> FloatArray:
    """OIHW, 3x3 -> (36, out blocks, input channels, block_out); input blocks as in `pack_dense`."""
    outputs, kernel, points = weights.shape[0], SCHEMES[stride].kernel, SCHEMES[stride].weights
    blocks_out = -(-outputs // block_out)
    transformed = np.einsum("ak,oikl,bl->abio", kernel, weights.astype(np.float64), kernel)  # (6, 6, I, O)
    packed = np.zeros((points, blocks_out * block_out, len(source_blocks) * block_in), np.float32)
    for index, channels in enumerate(source_blocks):
        start = index * block_in
        part = transformed[:, :, channels].reshape(points, len(channels), outputs)
        packed[:, :outputs, start : start + len(channels)] = part.transpose(0, 2, 1)
    shaped = packed.reshape(points, blocks_out, block_out, len(source_blocks) * block_in)
    return np.ascontiguousarray(shaped.transpose(0, 1, 3, 2))


def winograd_tiles(sources: Sequence[Source], output: Blocked, target: Target, window: Window = UNIT) -> list[Tile]:
    """Tiles of `winograd_convolution` that are worth a measurement, the one that the model chooses first.

    Their rows are rows of Winograd tiles: a slab.
    """
    tiles_h, tiles_w = tiles_of(output)
    channels, scheme = (_channels(sources), output.blocks * output.block), SCHEMES[window.stride[0]]

    def with_slab(tile: Tile, slab: int) -> Tile:
        tile = replace(tile, rows=slab)
        reason = (
            f"{tile.reason}; {slab} of {tiles_h} rows of {tiles_w} Winograd tiles at a time, "
            f"{group_of(tile, sources, output, scheme)} output blocks of their products"
        )
        return replace(tile, reason=reason)

    def of_slab(slab: int) -> list[Tile]:
        tiles = differing_tiles(target, width=slab * tiles_w, blocks=output.blocks, lanes=output.block)
        return [with_slab(tile, slab) for tile in tiles]

    first, *slabs = rank_slabs(tiles_h, tiles_w, *channels, GROUP * output.block, scheme)
    return [*of_slab(first), *(of_slab(slab)[0] for slab in slabs[:1])]


def winograd_convolution(
    name: str,
    sources: Sequence[Source],
    output: Blocked,
    epilogue: Epilogue,
    target: Target,
    tile: Tile | None = None,
    window: Window = UNIT,
) -> tuple[Any, Tile]:
    """`name(sources..., weights, bias, [residual], output)`; weights by `pack_winograd`.

    Requires `takes(window)`, and the halo of `window.halo` at least in every source. `tile` is one of
    `winograd_tiles`, the first if None. Returns the PrimFunc and its tile.
    """
    tile = tile or winograd_tiles(sources, output, target, window)[0]
    tiles_h, slab = tiles_of(output)[0], tile.rows
    with kernel(name) as builder:
        work = _Winograd(sources, output, epilogue, tile, window)
        zero_halo(work.out, output)
        if slab == tiles_h:
            with T.serial(0, output.batch) as n:
                work.whole_image(n)
        else:
            slabs = tiles_h // slab
            with share(output.batch * slabs) as (start, count), T.serial(0, count) as step:
                work.one_slab((start + step) // slabs, (start + step) % slabs * slab)
    return builder.get(), tile


def rank_slabs(tiles_h: int, tiles_w: int, inputs: int, outputs: int, group: int, scheme: Scheme) -> list[int]:
    """How many rows of tiles may share a pass over the weights: what costs least beyond L2 first.

    `inputs`, `outputs`: channels, of which the products of all or of `group` are made at a time.
    """

    def cost(slab: int) -> float:
        return min(
            _bytes_beyond_l2(tiles_h // slab, slab * tiles_w, inputs, outputs, count, scheme)
            for count in (outputs, group)
        )

    divisors = [slab for slab in range(1, tiles_h + 1) if tiles_h % slab == 0]
    slabs = [slab for slab in divisors if slab * tiles_w >= MIN_PIXELS or slab == tiles_h]
    # Of stride 2 transforms are more than twice as much, which nearly always leaves L2: the least of it does so.
    return slabs if scheme.stride == 2 else sorted(slabs, key=cost)


def group_of(tile: Tile, sources: Sequence[Source], output: Blocked, scheme: Scheme = SCHEMES[1]) -> int:
    """How many output blocks' products are made, and transformed back, before the next: all, or a few that fit L2."""
    tiles_h, tiles_w = tiles_of(output)
    slabs, pixels = tiles_h // tile.rows, tile.rows * tiles_w
    some = GROUP // tile.blocks * tile.blocks

    def cost(blocks: int) -> float:
        channels = _channels(sources), output.blocks * output.block, blocks * output.block
        return _bytes_beyond_l2(slabs, pixels, *channels, scheme)

    return min(output.blocks, some, key=cost) if some < output.blocks else output.blocks


def _channels(sources: Sequence[Source]) -> int:
    return sum(source.blocks for source in sources) * sources[0].layout.block


def _bytes_beyond_l2(slabs: int, pixels: int, inputs: int, outputs: int, group: int, scheme: Scheme) -> float:
    """What an image costs in `slabs` of so many Winograd tiles, in bytes read.

    Weights are read for every slab, unless they and its transforms fit L2. Transforms that do not fit it themselves
    are written there, and read for each group of output channels; so are products, unless those of a group fit.
    """
    weights, groups = scheme.weights * inputs * outputs * 4, -(-outputs // group)
    spectrum, products = (scheme.points * pixels * channels * 4 for channels in (inputs, group))
    if weights + spectrum + products <= SLAB_BYTES:
        return weights
    cost = slabs * weights * max(1.0, REUSE_PIXELS / pixels)
    if spectrum + products > SLAB_BYTES:
        cost += slabs * spectrum * (WRITE_COST + groups)
        if products > PRODUCTS_BYTES:
            cost += slabs * groups * products * (WRITE_COST + 1)
    return cost


class _Winograd:
    """The three steps, for any rows of tiles: `first` is the first of a slab, `row` counts from there."""

    def __init__(
        self, sources: Sequence[Source], output: Blocked, epilogue: Epilogue, tile: Tile, window: Window
    ) -> None:
        self.sources, self.output, self.epilogue, self.tile, self.slab = sources, output, epilogue, tile, tile.rows
        self.padding, self.scheme = window.padding, SCHEMES[window.stride[0]]
        self.inner, self.lanes = sources[0].layout.block, output.block
        self.source_blocks = sum(source.blocks for source in sources)
        self.tiles_h, self.tiles_w = tiles_of(output)
        self.pixels = self.slab * self.tiles_w
        self.group = group_of(tile, sources, output, self.scheme)
        self.inputs = [argument(f"source_{index}", source.layout.shape) for index, source in enumerate(sources)]
        self.weights = argument(
            "weights", (self.scheme.weights, output.blocks, self.source_blocks * self.inner, self.lanes)
        )
        self.bias = argument("bias", (output.blocks, self.lanes))
        self.residual = argument("residual", epilogue.residual.shape) if epilogue.residual else None
        self.out = argument("out", output.shape)

    def one_slab(self, n: Any, first: Any) -> None:
        """All of a slab in one thread."""
        self._allocate()
        with T.serial(0, self.slab) as row:
            self.transform_row(n, first, row)

        def of_group(group: Any, blocks: int) -> None:
            with T.serial(0, self.scheme.points) as point:
                self.multiply(point, group, blocks)
            with T.serial(0, blocks) as index, T.serial(0, self.slab) as row:
                self.finish_row(n, first, row, group, index)

        for_tiles(self.output.blocks, self.group, of_group)

    def whole_image(self, n: Any) -> None:
        """A slab that is the whole image: its threads share every step."""
        self._allocate()
        with share(self.slab) as (start, count), T.serial(0, count) as step:
            self.transform_row(n, 0, start + step)

        def of_group(group: Any, blocks: int) -> None:
            with share(self.scheme.points) as (start, count), T.serial(0, count) as step:
                self.multiply(start + step, group, blocks)
            with share(self.slab) as (start, count), T.serial(0, count) as step, T.serial(0, blocks) as index:
                self.finish_row(n, 0, start + step, group, index)

        for_tiles(self.output.blocks, self.group, of_group)

    def _allocate(self) -> None:
        # Points are not the outermost axis: what one tile stores would lie whole pages apart, in one set of the caches.
        shape = (self.source_blocks, self.scheme.points, self.pixels, self.inner)
        self.spectrum = T.alloc_buffer(shape, "float32", scope="global")
        shape = (self.group, self.scheme.points, self.pixels, self.lanes)
        self.products = T.alloc_buffer(shape, "float32", scope="global")

    def transform_row(self, n: Any, first: Any, row: Any) -> None:
        """1. Transform the input tiles of a row."""
        before = 0
        for source, data in zip(self.sources, self.inputs, strict=True):
            with T.serial(0, source.blocks) as c:
                self._for_columns(partial(self._transform_tile, n, source, data, c, before, first, row))
            before += source.blocks

    def _transform_tile(
        self, n: Any, source: Source, data: Any, c: Any, before: int, first: Any, row: Any, column: Any
    ) -> None:
        """Block `c` of a source, behind `before` others. `column` is a number where the tile reaches beyond it."""
        inner, scheme, (height, width) = self.inner, self.scheme, source.layout.shape[2:4]
        top, left = (source.layout.halo - before_image for before_image in self.padding)
        step, side = OUT * scheme.stride, len(scheme.taps)
        # No output that exists depends on what lies behind the end of a source: its last pixel is read instead.
        columns = []
        for j in range(scheme.inputs):
            x = column * step + j + left
            x = min(x, width - 1) if isinstance(column, int) else x
            pixel_column = []
            for i in range(scheme.inputs):
                y = (first + row) * step + i + top
                y = y if (self.tiles_h - 1) * step + i + top < height else T.min(y, height - 1)
                pixel_column.append(T.Bind(load(data, [n, c + source.first, y, x, 0], inner)))
            columns.append(scheme.transform_input(pixel_column, inner))
        for i in range(side):
            for j, value in enumerate(scheme.transform_input([one[i] for one in columns], inner)):
                store(self.spectrum, value, [c + before, i * side + j, row * self.tiles_w + column, 0], inner)

    def multiply(self, point: Any, group: Any, group_blocks: int) -> None:
        """2. For one of the points and a group of output blocks, a matrix product over the input channels."""
        inner, lanes, weight_point = self.inner, self.lanes, self.scheme.weight_of(point)

        def product(block: Any, blocks: int, first: Any, size: int, start: Callable[[list[Any]], Any]) -> None:
            def product_tile(pixel: Any, count: int) -> None:
                def at(index: int, offset: int) -> list[Any]:
                    return [block + index, point, pixel + offset, 0]

                sums = accumulators(blocks, count, lanes, lambda index, offset: start(at(index, offset)))
                add_products(
                    sums,
                    count,
                    blocks_in=size,
                    inner=inner,
                    lanes=lanes,
                    weight=lambda index, c, channel: load(
                        self.weights, [weight_point, group + block + index, (first + c) * inner + channel, 0], lanes
                    ),
                    value=lambda offset, c, channel: self.spectrum[first + c, point, pixel + offset, channel],
                )
                for index, total in enumerate(sums):
                    for offset in range(count):
                        store(self.products, load(total, [offset, 0], lanes), at(index, offset), lanes)

            for_tiles(self.pixels, self.tile.pixels, product_tile)

        # Panels of weights that stay in L1 while all pixels use them; sums are kept in the products in between.
        panel = max(1, min(self.source_blocks, PANEL_BYTES // (inner * self.tile.blocks * lanes * 4)))

        def panels(block: Any, blocks: int) -> None:
            product(block, blocks, 0, panel, lambda _: splat(0.0, lanes))
            if self.source_blocks > panel:
                for_tiles(
                    self.source_blocks - panel,
                    panel,
                    lambda c, size: product(
                        block, blocks, panel + c, size, lambda place: load(self.products, place, lanes)
                    ),
                )

        for_tiles(group_blocks, self.tile.blocks, panels)

    def finish_row(self, n: Any, first: Any, row: Any, group: Any, index: Any) -> None:
        """3. Transform a row of tiles of a group's output block back, and complete it."""
        lanes, output, block = self.lanes, self.output, group + index
        slope, scheme, side = self.epilogue.slope_of(block), self.scheme, len(self.scheme.taps)

        def tile_at(column: Any) -> None:
            offset = T.Bind(load(self.bias, [block, 0], lanes))
            pixel = row * self.tiles_w + column
            columns = [
                scheme.transform_output(
                    [T.Bind(load(self.products, [index, i * side + j, pixel, 0], lanes)) for i in range(side)], lanes
                )
                for j in range(side)
            ]
            exist = min(OUT, output.width - column * OUT) if isinstance(column, int) else OUT
            for i in range(OUT):
                y = (first + row) * OUT + i
                surely = (self.tiles_h - 1) * OUT + i < output.height
                with nullcontext() if surely else _where(y < output.height):
                    values = scheme.transform_output([one[i] for one in columns], lanes)
                    for j, value in enumerate(values[:exist]):
                        x = column * OUT + j
                        place = (n, block, y, x)
                        result = complete(value + offset, self.epilogue, slope, self.residual, place, lanes)
                        store(self.out, result, [n, block, y + output.halo, x + output.halo, 0], lanes)

        self._for_columns(tile_at)

    def _for_columns(self, tile_at: Callable[[Any], None]) -> None:
        """Run `tile_at(column)` for a row's tiles: those inside the output in a loop, then one that reaches beyond."""
        full = self.output.width // OUT
        if full:
            with T.serial(0, full) as column:
                tile_at(column)
        if full < self.tiles_w:
            tile_at(full)


@contextmanager
def _where(condition: Any) -> Iterator[None]:
    """Do the body only there."""
    with T.If(condition), T.Then():
        yield
