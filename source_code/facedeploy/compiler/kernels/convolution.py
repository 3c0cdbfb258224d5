"""Convolutions as TVM's lowering gives them (NCHW), scheduled: the path of every convolution that no kernel matches."""

from typing import Any

from tvm import s_tir, tirx

from facedeploy.compiler.target import Target

CHANNEL_TILE = 8  # Output channels that share one load of the input.
VECTORS_TILE = 2  # Vectors of a row: with the channels, as many accumulators as hide the latency of a multiply-add.


def schedule_convolution(function: Any, target: Target) -> Any | None:
    """Tile output channels and row, vectorize along the row, keep sums in registers, run tiles in parallel.

    Takes a PrimFunc with one NCHW convolution, dense or grouped, padded or not, and elementwise operators behind it.
    Returns the scheduled PrimFunc, or None for any other function. What it computes stays the same, any shape.
    """
    schedule = s_tir.Schedule(function)
    blocks = schedule.get_child_blocks(schedule.get_sblock("root"))
    convolution = _find_convolution(schedule, blocks)
    if convolution is None or len(schedule.get_output_blocks("root")) != 1:
        return None
    padding = [block for block in blocks if _is_one_of(schedule, block, schedule.get_producers(convolution))]
    pointwise = [block for block in blocks if not _is_one_of(schedule, block, [convolution, *padding])]
    if pointwise:
        final = pointwise.pop()
        if _shape(schedule, final) != _shape(schedule, convolution)[:4]:
            return None
        schedule.set_scope(convolution, 0, "local")
    else:
        final = schedule.cache_write(convolution, 0, "local")
    for block in pointwise:
        schedule.compute_inline(block)

    _, channels, _, width, inner_channels, *_ = _shape(schedule, convolution)
    grouped = "group" in schedule.get(convolution).name_hint
    lanes = _largest_divisor(width, target.float32_lanes)
    vectors = _largest_divisor(width // lanes, VECTORS_TILE)
    # A depthwise convolution has no channels that could share a load.
    tile = 1 if grouped and inner_channels == 1 else _largest_divisor(channels, CHANNEL_TILE)

    batch, channel, row, column = schedule.get_loops(final)
    channel_outer, channel_inner = schedule.split(channel, [None, tile])
    column_outer, column_vectors, column_lanes = schedule.split(column, [None, vectors, lanes])
    schedule.reorder(batch, channel_outer, row, column_outer, channel_inner, column_vectors, column_lanes)
    schedule.vectorize(column_lanes)
    schedule.parallel(schedule.fuse(batch, channel_outer, row))
    # Unit loops are kept, so that what comes back is always the seven loops of a convolution.
    schedule.compute_at(convolution, column_outer, preserve_unit_loops=True)
    batch, channel, row, column, channel_in, kernel_row, kernel_column = schedule.get_loops(convolution)[-7:]
    column_vectors, column_lanes = schedule.split(column, [None, lanes])
    schedule.reorder(channel_in, kernel_row, kernel_column, batch, row, channel, column_vectors, column_lanes)
    schedule.vectorize(column_lanes)
    for loop in (channel, column_vectors, kernel_column):
        schedule.unroll(loop)
    schedule.decompose_reduction(convolution, channel_in)
    for block in padding:
        schedule.parallel(schedule.fuse(*schedule.get_loops(block)[:-1]))
    return schedule.mod["main"]


def _find_convolution(schedule: Any, blocks: list[Any]) -> Any | None:
    """The one block that reduces, if it is an NCHW convolution: 4 spatial axes, 3 reduced."""
    kinds = [[axis.iter_type for axis in schedule.get(block).iter_vars] for block in blocks]
    reducing = [pair for pair in zip(blocks, kinds, strict=True) if tirx.IterVar.CommReduce in pair[1]]
    if len(reducing) != 1:
        return None
    ((block, axes),) = reducing
    expected = [tirx.IterVar.DataPar] * 4 + [tirx.IterVar.CommReduce] * 3
    return block if "conv2d_nchw" in schedule.get(block).name_hint and axes == expected else None


def _is_one_of(schedule: Any, block: Any, others: list[Any]) -> bool:
    return any(schedule.get(block).same_as(schedule.get(other)) for other in others)


def _shape(schedule: Any, block: Any) -> list[int]:
    return [int(axis.dom.extent) for axis in schedule.get(block).iter_vars]


def _largest_divisor(number: int, limit: int) -> int:
    return max(divisor for divisor in range(1, min(number, limit) + 1) if number % divisor == 0)
