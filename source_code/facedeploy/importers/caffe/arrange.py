"""Layers that move values: Concat, Slice, Split, Crop, Reshape, Flatten, Permute."""

from collections.abc import Sequence
from itertools import pairwise
from math import prod

import numpy as np

from facedeploy.importers.caffe.graph import Graph
from facedeploy.importers.caffe.network import Layer
from facedeploy.importers.caffe.settings import Settings


def concat(layer: Layer, graph: Graph) -> None:
    """Concat."""
    settings = layer.settings.section("concat_param")
    shapes = [graph.shapes[bottom] for bottom in layer.bottoms]
    axis = axis_of(settings, len(shapes[0]), 1, alias="concat_dim")
    if len({(*shape[:axis], -1, *shape[axis + 1 :]) for shape in shapes}) != 1:
        raise layer.settings.error(
            f"got blobs of {list(map(list, shapes))}, which do not fit along axis {axis}", "bottom"
        )
    total = sum(shape[axis] for shape in shapes)
    graph.add("Concat", layer, layer.bottoms, (*shapes[0][:axis], total, *shapes[0][axis + 1 :]), axis=axis)


def slice_(layer: Layer, graph: Graph) -> None:
    """Split, at the points given or into equal parts."""
    settings = layer.settings.section("slice_param")
    shape = graph.shapes[layer.bottoms[0]]
    axis = axis_of(settings, len(shape), 1, alias="slice_dim")
    points, parts = settings.integers("slice_point"), len(layer.tops)
    if not points and shape[axis] % parts == 0:
        points = [shape[axis] // parts * index for index in range(1, parts)]
    edges = [0, *points, shape[axis]]
    sizes = [end - start for start, end in pairwise(edges)]
    if len(sizes) != parts or min(sizes) < 1:
        raise settings.error(f"got {points}, which does not cut {shape[axis]} into {parts} parts", "slice_point")
    lengths = graph.constant(f"{layer.name}.lengths", np.array(sizes, np.int64))
    node = graph.add("Split", layer, [layer.bottoms[0], lengths], shape, axis=axis)
    node.output[:] = layer.tops
    for top, size in zip(layer.tops, sizes, strict=True):
        graph.shapes[top] = (*shape[:axis], size, *shape[axis + 1 :])


def split(layer: Layer, graph: Graph) -> None:
    """The same blob under several names."""
    for top in layer.tops:
        graph.add("Identity", layer, layer.bottoms, graph.shapes[layer.bottoms[0]], top)


def crop(layer: Layer, graph: Graph) -> None:
    """Slice to the sides of the second blob, from `axis` on; nothing where they are the same already."""
    settings = layer.settings.section("crop_param")
    source, reference = (graph.shapes[bottom] for bottom in layer.bottoms)
    first = axis_of(settings, len(source), 2)
    offsets = settings.integers("offset") or [0]
    cropped = len(source) - first
    if len(offsets) not in (1, cropped):
        raise settings.error(f"is there {len(offsets)} times, expected once or for each of {cropped} axes", "offset")
    starts = [0] * first + (offsets * cropped)[:cropped]
    ends = [
        start + (reference[axis] if axis >= first and axis < len(reference) else side)
        for axis, (start, side) in enumerate(zip(starts, source, strict=True))
    ]
    if len(source) != len(reference) or any(end > side for end, side in zip(ends, source, strict=True)):
        raise settings.error(f"{list(source)} from {starts} does not hold {list(reference)}")
    cut = [
        axis for axis, (start, end) in enumerate(zip(starts, ends, strict=True)) if (start, end) != (0, source[axis])
    ]
    shape = tuple(end - start for start, end in zip(starts, ends, strict=True))
    if not cut:
        graph.add("Identity", layer, layer.bottoms[:1], shape)
        return
    places = {"starts": [starts[axis] for axis in cut], "ends": [ends[axis] for axis in cut], "axes": cut}
    names = [graph.constant(f"{layer.name}.{role}", np.array(each, np.int64)) for role, each in places.items()]
    graph.add("Slice", layer, [layer.bottoms[0], *names], shape)


def reshape(layer: Layer, graph: Graph) -> None:
    """Reshape; 0 keeps a side, -1 is what remains, and sides before `axis` and behind `num_axes` stay."""
    settings = layer.settings.section("reshape_param")
    source = graph.shapes[layer.bottoms[0]]
    wanted = settings.section("shape").integers("dim", -1)
    # An axis may be the one behind the last, and is counted from there if it is below 0.
    axis = settings.integer("axis", 0, least=-len(source) - 1)
    axis += len(source) + 1 if axis < 0 else 0
    count = settings.integer("num_axes", -1, least=-1)
    end = len(source) if count < 0 else axis + count
    if axis > len(source) or end > len(source):
        raise settings.error(f"axis {axis} and num_axes {count} are not of a blob of {list(source)}")
    if wanted.count(-1) > 1:
        raise settings.error("has more than one -1", "shape")
    if any(side == 0 and axis + place >= len(source) for place, side in enumerate(wanted)):
        raise settings.error(f"keeps a side that {list(source)} has not", "shape")
    made = [source[axis + place] if side == 0 else side for place, side in enumerate(wanted)]
    replaced = prod(source[axis:end])
    known = prod(side for side in made if side != -1)
    if -1 in made and known and replaced % known == 0:
        made[made.index(-1)] = replaced // known
    if -1 in made or prod(made) != replaced:
        raise settings.error(f"{list(wanted)} does not hold the {replaced} values of {list(source[axis:end])}", "shape")
    # Zeros, so that the model may be had for other sizes of its input.
    behind = [0] * (len(source) - end) if len(wanted) == end - axis else list(source[end:])
    _reshape(layer, graph, [0] * axis + wanted + behind, (*source[:axis], *made, *source[end:]))


def flatten(layer: Layer, graph: Graph) -> None:
    """Reshape that makes one axis of those from `axis` to `end_axis`."""
    settings = layer.settings.section("flatten_param")
    source = graph.shapes[layer.bottoms[0]]
    first, last = axis_of(settings, len(source), 1), axis_of(settings, len(source), -1, key="end_axis")
    if first > last:
        raise settings.error(f"got {last}, which is before axis {first}", "end_axis")
    shape = (*source[:first], prod(source[first : last + 1]), *source[last + 1 :])
    behind = source[last + 1 :]
    _reshape(layer, graph, [0] * first + [-1] + list(behind), shape)


def permute(layer: Layer, graph: Graph) -> None:
    """Transpose; axes that are not named come last."""
    settings = layer.settings.section("permute_param")
    source = graph.shapes[layer.bottoms[0]]
    order = settings.integers("order")
    if len(set(order)) != len(order) or any(axis >= len(source) for axis in order):
        raise settings.error(f"got {order}, expected axes of a blob of {list(source)}, each once", "order")
    order += [axis for axis in range(len(source)) if axis not in order]
    graph.add("Transpose", layer, layer.bottoms, tuple(source[axis] for axis in order), perm=order)


def axis_of(settings: Settings, rank: int, default: int, key: str = "axis", alias: str = "") -> int:
    """The axis that a key names, from 0; one below 0 is counted from the last. `alias` is an older key."""
    if alias and settings.has(alias):
        key = alias
    axis = settings.integer(key, default, least=-rank)
    if axis >= rank:
        raise settings.error(f"got {axis}, the blob has {rank} axes", key)
    return axis % rank


def _reshape(layer: Layer, graph: Graph, sides: Sequence[int], shape: tuple[int, ...]) -> None:
    name = graph.constant(f"{layer.name}.shape", np.array(sides, np.int64))
    graph.add("Reshape", layer, [layer.bottoms[0], name], shape)
