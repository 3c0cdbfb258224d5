"""An ONNX model that was exported at one shape of its input, for another: the same layers, the same weights."""

from collections.abc import Mapping
from fractions import Fraction
from math import prod
from typing import Any

import numpy as np

from facedeploy.compiler.frontend.prepare_onnx import with_input_shape
from facedeploy.core.tensor_spec import TensorSpec
from facedeploy.quantize.graph import static_shapes

Shape = tuple[int, ...]

SIZES = {"Resize": 3, "Reshape": 1}  # Nodes that may be given the sizes of what they make, and as which input.
# Nodes that pick by number, or repeat, where such a number may stand for a size.
COUNTING = ("Slice", "Split", "Gather", "GatherElements", "GatherND", "ScatterElements", "ScatterND", "Expand", "Tile")

PAIRING = ("Add", "Sum", "Sub", "Mul")  # Nodes whose inputs have the same sides.


def reshape_onnx(model: Any, known: TensorSpec, image: TensorSpec) -> Any:
    """A copy of an onnx.ModelProto made for the input `known`, whose input gets the shape of `image`.

    Exporters write sizes as numbers: those of a Resize keep their ratio to what is resized, or become those of a tensor
    that it is added to (45 rows halved are 23, which doubled are 46); those of a Reshape follow the sides that they are
    made of, where it does not copy or work out itself what changes. Raises ValueError for a node of which it cannot be
    told what it would do.
    """
    import onnx

    before = static_shapes(with_input_shape(model, known))
    reshaped = with_input_shape(model, image)
    graph = reshaped.graph
    constants = {entry.name: onnx.numpy_helper.to_array(entry) for entry in graph.initializer}
    after: Mapping[str, Shape] = {}
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            constants[node.output[0]] = onnx.numpy_helper.to_array(node.attribute[0].t)
        place = SIZES.get(node.op_type)
        if place is None and node.op_type not in COUNTING:
            continue
        if place is not None and (len(node.input) <= place or node.input[place] not in constants):
            continue  # By scales, or by sizes that the model works out from the shape that it gets.
        after = after or static_shapes(reshaped)
        source, made = node.input[0], node.output[0]
        if source not in before or source not in after:
            raise ValueError(f"the shape that {_called(node)} reads cannot be inferred")
        old, new = before[source], after[source]
        if old == new and node.op_type != "Resize":  # Which may have to make a row less of the same.
            continue
        if node.op_type == "Reshape" and _says_itself(constants[node.input[1]], old, new):
            continue
        if place is None:
            if any(old[axis] != new[axis] for axis in _axes(node, constants, len(old))):
                raise ValueError(f"{_called(node)} may count what changes with the shape")
            continue
        if node.op_type == "Resize":
            sizes = _beside(graph, node, before, after) or _resized(old, before[made], new)
        else:
            sizes = _regrouped(old, before[made], new)
        if sizes is None:
            raise ValueError(
                f"{_called(node)} makes {list(before[made])} of {list(old)}, which does not say what of {list(new)}"
            )
        node.input[place] = f"{made}.sizes"
        graph.initializer.append(onnx.numpy_helper.from_array(np.array(sizes, np.int64), node.input[place]))
        after = {}  # What follows gets other shapes.
    return reshaped


def _says_itself(numbers: Any, old: Shape, new: Shape) -> bool:
    """Whether each side that changes is copied (0) or worked out (-1) by a Reshape of these numbers, in its place."""
    changed = [axis for axis, (was, size) in enumerate(zip(old, new, strict=True)) if was != size]
    return all(axis < len(numbers) and numbers[axis] in (0, -1) for axis in changed)


def _called(node: Any) -> str:
    return f"the {node.op_type} {node.name or node.output[0]}"


def _axes(node: Any, constants: Mapping[str, Any], rank: int) -> list[int]:
    """The axes along which a node counts, all that it could."""
    if node.op_type in ("Split", "Gather"):
        return [next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 0)]
    if node.op_type == "Slice" and len(node.input) > 3 and node.input[3] in constants:
        return [int(axis) for axis in constants[node.input[3]]]
    return list(range(rank))


def _beside(graph: Any, resize: Any, before: Mapping[str, Shape], after: Mapping[str, Shape]) -> Shape | None:
    """The new shape of what a Resize makes, by a tensor that it is added to, if that has a shape which fits.

    It fits where each side, made as many times smaller as the Resize enlarges and rounded up, is that of the source.
    """
    source, made = resize.input[0], resize.output[0]
    factors = [-(-large // small) for large, small in zip(before[made], before[source], strict=True)]
    pairs = [node.input for node in graph.node if node.op_type in PAIRING and made in node.input]
    for other in (name for names in pairs for name in names if name != made and before.get(name) == before[made]):
        shape = after.get(other, ())
        if tuple(-(-side // factor) for side, factor in zip(shape, factors, strict=False)) == after[source]:
            return shape
    return None


def _resized(old: Shape, made: Shape, new: Shape) -> Shape | None:
    """As many pixels for each one as before."""
    return _whole([side * Fraction(size, was) for side, size, was in zip(new, made, old, strict=True)])


def _regrouped(old: Shape, made: Shape, new: Shape) -> Shape | None:
    """Each side that changes is part of one side of what is made, which changes by the same factor.

    Going along a side of n, neighbors `step` numbers apart, takes strides from `step` up to n `step`.
    """
    sides = [Fraction(size) for size in made]
    for axis, (was, size) in enumerate(zip(old, new, strict=True)):
        if was == size:
            continue
        step = prod(old[axis + 1 :])
        parts = [
            index
            for index, side in enumerate(made)
            if side > 1 and prod(made[index + 1 :]) <= step and was * step <= prod(made[index:])
        ]
        if was == 1:  # Has no strides. A batch of one is told by its place.
            parts = [0] if axis == 0 and made[:1] == (1,) else []
        if len(parts) != 1:
            return None
        sides[parts[0]] *= Fraction(size, was)
    return _whole(sides)


def _whole(sides: list[Fraction]) -> Shape | None:
    return tuple(map(int, sides)) if all(side.denominator == 1 for side in sides) else None
