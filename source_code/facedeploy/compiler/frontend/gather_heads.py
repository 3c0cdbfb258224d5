"""Outputs that a model has for each level become one of each kind, as the compiled post-processing reads them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from facedeploy.compiler.frontend.prepare_onnx import with_input_shape
from facedeploy.core.anchor_spec import AnchorSpec
from facedeploy.core.errors import CompileError
from facedeploy.core.head_spec import HeadSpec
from facedeploy.core.level import Level
from facedeploy.core.prior_spec import PriorSpec
from facedeploy.core.receptive_field_spec import ReceptiveFieldSpec
from facedeploy.core.shown import listed
from facedeploy.core.tensor_spec import TensorSpec
from facedeploy.quantize.graph import static_shapes

LOC, CONF, LANDMS = "loc", "conf", "landms"
# Numbers for each prior in the outputs of a level -> what they are.
KINDS: Mapping[type[HeadSpec], Mapping[int, str]] = {
    PriorSpec: {1: CONF, 4: LOC, 10: LANDMS},
    AnchorSpec: {2: CONF, 4: LOC, 10: LANDMS},  # For all priors of a cell that they are none, then that they are faces.
    ReceptiveFieldSpec: {1: CONF, 4: LOC},
}


@dataclass(frozen=True)
class _Output:
    """An output that may be one of a level: a map (N, channels, rows, columns), or rows (N, priors, numbers)."""

    name: str
    shape: tuple[int, ...]

    def fits(self, level: Level) -> bool:
        if len(self.shape) == 4:
            return self.shape[2:] == (level.rows, level.columns) and self.shape[1] % level.priors == 0
        return len(self.shape) == 3 and self.shape[1] == level.count

    def numbers(self, level: Level) -> int:
        return self.shape[1] // level.priors if len(self.shape) == 4 else self.shape[2]

    def described(self) -> str:
        return f"{self.name} {list(self.shape)}"


def gather_heads(model: Any, image: TensorSpec, head: HeadSpec) -> Any:
    """A copy of an onnx.ModelProto with outputs loc (N, P, 4), conf (N, P, 1) and, if it has landmarks, landms.

    Levels lie one behind the other, in the order of `head`. Outputs are told by their shapes, those of levels of one
    size by their order. Where levels have two outputs of one number a prior, these are a class's and an object's
    probability (YuNet), and the square root of their product is the score. Other outputs stay as they are, and so does
    a model that has no outputs of levels. Raises CompileError when a level has no boxes or scores, and when the model
    has both of a level that `head` lacks, where faces would go unseen.
    """
    shapes = static_shapes(with_input_shape(model, image))
    outputs = [_Output(entry.name, shapes.get(entry.name, ())) for entry in model.graph.output]
    height, width = image.shape[2:]
    # Outputs of skipped scales are there all the same.
    every = replace(head, skip_scales=()) if isinstance(head, ReceptiveFieldSpec) else head
    scales = head.scales if isinstance(head, ReceptiveFieldSpec) else range(len(head.strides))
    levels = every.levels((height, width))
    count, shapes_of_all = head.count((height, width)), {output.shape[1:] for output in outputs}
    # Of a single level, two classes tell: a softmax has made them.
    whole = (count, 4) in shapes_of_all and (len(levels) > 1 or (count, 2) in shapes_of_all)
    if whole or not any(output.fits(level) for output in outputs for level in levels):
        return model
    gathered = type(model)()
    gathered.CopyFrom(model)
    builder = _Builder(gathered.graph)
    outputs = [replace(output, name=builder.renamed(output.name)) for output in outputs]
    used, made = set[str](), list[str]()
    for kind in (LOC, CONF, LANDMS):
        found = _of_levels(kind, head, levels, outputs)
        used.update(output.name for of_level in found for output in of_level)
        if kind == LANDMS and not any(found):
            continue
        most = 2 if kind == CONF and isinstance(head, PriorSpec) else 1
        for number in scales:
            if not 1 <= len(found[number]) <= most:
                described = ", ".join(output.described() for output in outputs)
                raise CompileError(
                    f"graph.extra_ops: {head.described()} on {height}x{width} (height x width): got "
                    f"{len(found[number])} outputs that may be {kind} at stride {levels[number].stride}, expected one "
                    f"of {levels[number].count} priors; the model's outputs are {described}"
                )
        halved = kind == CONF and isinstance(head, AnchorSpec)
        rows = [builder.rows(f"{kind}.{number}", levels[number], found[number], last=halved) for number in scales]
        made.append(builder.add("Concat", rows, kind, axis=1))
    taken = [output for output in outputs if output.name in used]
    others = [output for output in outputs if output.name not in used]
    if surplus := _of_other_levels(head, levels, taken, others):
        raise CompileError(
            f"graph.extra_ops: {head.described()} on {height}x{width} (height x width): the model has scores and boxes "
            f"of other strides besides, {listed([output.described() for output in surplus])}: name all strides of the "
            "net, or take the net that these are for"
        )
    builder.replace_outputs(made, used)
    return gathered


def _of_levels(kind: str, head: HeadSpec, levels: Sequence[Level], outputs: Sequence[_Output]) -> list[list[_Output]]:
    """The outputs of that kind of each level; those that fit several levels are shared out in their order."""
    kinds = KINDS[type(head)]
    found = []
    for number, level in enumerate(levels):
        alike = [other for other, each in enumerate(levels) if replace(each, stride=level.stride) == level]
        fitting = [output for output in outputs if output.fits(level) and kinds.get(output.numbers(level)) == kind]
        found.append(fitting[alike.index(number) :: len(alike)])
    return found


def _of_other_levels(
    head: HeadSpec, levels: Sequence[Level], taken: Sequence[_Output], others: Sequence[_Output]
) -> list[_Output]:
    """Those of the others that are of the form of those taken, and are the scores and the boxes of one more grid."""
    kinds, forms = KINDS[type(head)], {len(output.shape) for output in taken}
    grids: dict[Level, list[_Output]] = {}
    for output in others:
        if len(output.shape) not in forms or any(output.fits(level) for level in levels):
            continue
        for priors in {level.priors for level in levels} if len(output.shape) == 4 else {1}:
            rows, columns = output.shape[2:] if len(output.shape) == 4 else (output.shape[1], 1)
            grid = Level(0, rows, columns, priors)
            if output.fits(grid) and output.numbers(grid) in kinds:
                grids.setdefault(grid, []).append(output)
    whole = [each for grid, each in grids.items() if {LOC, CONF} <= {kinds[output.numbers(grid)] for output in each}]
    return [output for each in whole for output in each]


class _Builder:
    """Adds nodes to an onnx.GraphProto."""

    def __init__(self, graph: Any) -> None:
        self._graph = graph

    def renamed(self, name: str) -> str:
        """The name, or another one for a tensor that is called as the outputs to be."""
        if name not in (LOC, CONF, LANDMS):
            return name
        new = f"{name}.of_level"
        for node in self._graph.node:
            for names in (node.input, node.output):
                names[:] = [new if each == name else each for each in names]
        for entry in self._graph.output:
            entry.name = new if entry.name == name else entry.name
        return new

    def rows(self, name: str, level: Level, outputs: Sequence[_Output], last: bool) -> str:
        """The outputs of one level as (N, cells * priors, numbers); `last`: the second half of each."""
        parts = []
        for index, output in enumerate(outputs):
            part, numbers = output.name, output.numbers(level)
            own = f"{name}.{index}"
            if last:
                first, axis = (level.priors, 1) if len(output.shape) == 4 else (1, 2)
                bounds = [np.array([value], np.int64) for value in (first, 2 * first, axis)]
                constants = [self._constant(f"{own}.{at}", value) for at, value in enumerate(bounds)]
                part, numbers = self.add("Slice", [part, *constants], f"{own}.face"), 1
            if len(output.shape) == 4:
                part = self.add("Transpose", [part], f"{own}.pixels", perm=[0, 2, 3, 1])
                shape = self._constant(f"{own}.shape", np.array([0, -1, numbers], np.int64))
                part = self.add("Reshape", [part, shape], f"{own}.rows")
            parts.append(part)
        if len(parts) == 1:
            return parts[0]
        return self.add("Sqrt", [self.add("Mul", parts, f"{name}.product")], f"{name}.mean")

    def add(self, operator: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        from onnx import helper

        self._graph.node.append(helper.make_node(operator, inputs, [output], name=output, **attributes))
        return output

    def replace_outputs(self, names: Sequence[str], used: set[str]) -> None:
        """The new ones first, then those that were there and are not used."""
        from onnx import TensorProto, helper

        others = [entry for entry in self._graph.output if entry.name not in used]
        del self._graph.output[:]
        self._graph.output.extend(
            helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, None, None]) for name in names
        )
        self._graph.output.extend(others)

    def _constant(self, name: str, value: Any) -> str:
        from onnx import numpy_helper

        self._graph.initializer.append(numpy_helper.from_array(value, name))
        return name
