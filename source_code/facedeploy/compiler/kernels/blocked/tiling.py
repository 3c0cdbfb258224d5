"""Tile sizes from a small model of registers and caches. It can say why it chose what it chose."""

from dataclasses import dataclass

from facedeploy.compiler.target import Target

MULTIPLY_ADDS_PER_CYCLE = 2.0  # Vector instructions; current x86 cores have two such units and two load ports.
LOADS_PER_CYCLE = 2.0
LATENCY = 4.0  # Cycles until a sum can be added to again.
LOAD_COST = 0.1  # Cycles a load adds even where it is not the bound: of tiles that tie, the one with fewest loads wins.
MAX_PIXELS = 10  # More neighbors than that did not pay in any measurement, and take LLVM long.
L2_BYTES = 256 * 1024  # What one kernel may hope to keep; smaller than any L2 of these targets.


@dataclass(frozen=True)
class Tile:
    """`pixels` of a row times `blocks` of output channels are summed in registers; `rows` share one pass over weights.

    `reason` is a sentence.
    """

    pixels: int
    blocks: int
    rows: int
    reason: str


def choose_tile(
    target: Target, *, width: int, blocks: int, lanes: int, height: int = 1, row_bytes: int = 0, max_blocks: int = 4
) -> Tile:
    """For a matrix product of `width` pixels a row with `blocks` output blocks of `lanes`.

    `row_bytes` is what one row of the input occupies: as many of `height` rows as L2 holds are done for each block of
    weights.
    """
    registers, sums, per_block = _registers(target, lanes)
    best: tuple[float, int, int] | None = None
    for tile_blocks in range(1, min(blocks, max_blocks) + 1):
        for pixels in range(1, min(width, MAX_PIXELS) + 1):
            if pixels * tile_blocks * per_block > sums and pixels > 1:
                break
            cycles = _cycles(width, pixels, blocks, tile_blocks, per_block)
            if best is None or cycles < best[0] - 1e-9:
                best = cycles, pixels, tile_blocks
    assert best is not None
    cycles, pixels, tile_blocks = best
    rows = max(1, min(height, L2_BYTES // max(1, row_bytes)))
    ideal = width * blocks * per_block / MULTIPLY_ADDS_PER_CYCLE
    reason = (
        f"{pixels} pixels x {tile_blocks} blocks: sums in {pixels * tile_blocks * per_block} of {registers} registers, "
        f"{100 * ideal / cycles:.0f} % of peak at best"
    )
    if row_bytes:
        reason += f"; {rows} rows of {row_bytes} B share a pass over weights in L2"
    return Tile(pixels, tile_blocks, rows, reason)


def _registers(target: Target, lanes: int) -> tuple[int, int, int]:
    """Registers there are, how many may hold sums, and how many one block takes.

    The others hold weights and broadcast inputs; with fewer of them free, LLVM spills sums to the stack.
    """
    per_block = max(1, lanes // target.float32_lanes)
    return (32, 20, per_block) if target.vector_bits == 512 else (16, 12, per_block)


def _cycles(width: int, pixels: int, blocks: int, tile_blocks: int, per_block: int) -> float:
    """Cycles of one input channel over a row: every tile is bound by multiply-adds, loads or latency."""
    total = 0.0
    for count, size in _parts(width, pixels):
        for block_count, block_size in _parts(blocks, tile_blocks):
            products = size * block_size * per_block
            loads = size + block_size * per_block
            cycles = max(products / MULTIPLY_ADDS_PER_CYCLE, loads / LOADS_PER_CYCLE, LATENCY) + LOAD_COST * loads
            total += count * block_count * cycles
    return total


def _parts(total: int, tile: int) -> list[tuple[int, int]]:
    full, rest = divmod(total, tile)
    return [(full, tile)] * (full > 0) + [(1, rest)] * (rest > 0)
