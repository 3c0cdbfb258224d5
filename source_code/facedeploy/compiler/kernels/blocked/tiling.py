"""Tile sizes from a small model of registers and caches. It can say why it chose what it chose."""

from dataclasses import dataclass

from facedeploy.compiler.target import Target

MULTIPLY_ADDS_PER_CYCLE = 2.0  # Vector instructions; current x86 cores have two such units and two load ports.
LOADS_PER_CYCLE = 2.0
LATENCY = 4.0  # Cycles until a sum can be added to again.
LOAD_COST = 0.1  # Cycles a load adds even where it is not the bound: of tiles that tie, the one with fewest loads wins.
# Registers that may hold sums, by a vector's bits. The others hold weights and broadcast inputs; with fewer of them
# free, LLVM spills sums to the stack.
SUMS = {512: 20, 256: 12, 128: 12}
MAX_PIXELS = 10  # More neighbors than that did not pay in any measurement, and take LLVM long.
L2_BYTES = 512 * 1024  # What one kernel may hope to keep; smaller than any L2 of these targets.


SHARES = 4  # Of the rows of a kernel of integers, at least: threads take one after the other.


def integer_rows(height: int, row_bytes: int) -> int:
    """How many rows of outputs, of `height`, share a pass over weights when each reads so many bytes anew."""
    return max(1, min(height // SHARES, L2_BYTES // max(1, row_bytes)))


@dataclass(frozen=True)
class Tile:
    """`pixels` of a row times `blocks` of output channels are summed in registers; `rows` share one pass over weights.

    `panel`: how many input blocks are done for all of these before the next; None for what the kernel does by itself.
    `reason` is a sentence.
    """

    pixels: int
    blocks: int
    rows: int
    reason: str
    panel: int | None = None

    def __str__(self) -> str:
        """The sizes, which tell tiles of a kernel apart."""
        rows = f", {self.rows} row{'s' * (self.rows > 1)}"
        panel = "" if self.panel is None else f", {self.panel} input block{'s' * (self.panel > 1)} a pass"
        return f"{self.pixels} pixels x {self.blocks} blocks{rows}{panel}"


def choose_tile(target: Target, **matrix: int) -> Tile:
    """The first of `rank_tiles`, with the same arguments: what the model chooses."""
    return rank_tiles(target, **matrix)[0]


def rank_tiles(
    target: Target,
    *,
    width: int,
    blocks: int,
    lanes: int,
    max_blocks: int = 4,
    max_pixels: int = MAX_PIXELS,
) -> list[Tile]:
    """For a matrix product of `width` pixels a row with `blocks` output blocks of `lanes`: the cheapest tile first.

    All that fit registers, of one row; how many share a pass over weights is for the kernel to say.
    """
    registers, per_block = 32 if target.vector_bits == 512 else 16, max(1, lanes // target.float32_lanes)
    sums = SUMS[target.vector_bits]
    ideal = width * blocks * per_block / MULTIPLY_ADDS_PER_CYCLE
    ranked = []
    for tile_blocks in range(1, min(blocks, max_blocks) + 1):
        for pixels in range(1, min(width, max_pixels) + 1):
            # Beside the sums, each block's weights and one broadcast input are in registers.
            used = (pixels + 1) * tile_blocks * per_block + 1
            if (pixels * tile_blocks * per_block > sums or used > registers) and pixels > 1:
                break
            cycles = _cycles(width, pixels, blocks, tile_blocks, per_block)
            reason = (
                f"{pixels} pixels x {tile_blocks} blocks: sums in {pixels * tile_blocks * per_block} of {registers} "
                f"registers, {100 * ideal / cycles:.0f} % of peak at best"
            )
            ranked.append((round(cycles, 6), Tile(pixels, tile_blocks, 1, reason)))
    return [tile for _, tile in sorted(ranked, key=lambda entry: entry[0])]


def differing_tiles(target: Target, **matrix: int) -> list[Tile]:
    """The first of `rank_tiles`, and two that differ from it: the next, and the best of other blocks."""
    ranked = rank_tiles(target, **matrix)
    others = [tile for tile in ranked if tile.blocks != ranked[0].blocks]
    return list(dict.fromkeys([*ranked[:2], *others[:1]]))


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
