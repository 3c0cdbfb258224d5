"""Modules that only call kernels -> all functions and parameters of an artifact."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import tvm

from facedeploy.artifact.manifest import ALIGNMENT, INTEGERS, LETTERBOX, MAIN, IntegerInput, PostProcess, Region, Rung
from facedeploy.compiler.call_list import Parameters, input_alignment, read_calls
from facedeploy.compiler.entry_point import add_entry_point
from facedeploy.compiler.extra_ops import extra_op
from facedeploy.compiler.integer_entry import from_integers
from facedeploy.compiler.kernels.canvas_rows import CanvasRows, FloatRows
from facedeploy.compiler.plan_memory import place_in_a_row, plan_memory
from facedeploy.core.normalization import Normalization
from facedeploy.core.tensor_spec import TensorSpec


@dataclass(frozen=True)
class Network:
    """A Relax module with `main`, its input and outputs."""

    input: TensorSpec
    module: tvm.IRModule
    outputs: Sequence[TensorSpec]


@dataclass(frozen=True)
class Executable:
    """TIR functions, not yet machine code, the parameters as they read them; what is known of them.

    `letterboxes` names the functions that write the entries' inputs, and says how these lie in memory.
    """

    kernels: tvm.IRModule
    entries: tvm.IRModule
    letterboxes: dict[str, CanvasRows]
    parameters: npt.NDArray[np.uint8]
    ladder: tuple[Rung, ...]


def assemble(networks: Sequence[Network], normalization: Normalization | None, post: PostProcess | None) -> Executable:
    """One network at one or more shapes, of modules that only call kernels -> these, entry points, and parameters.

    Shapes share the parameters that are equal. Functions of the second shape and those after it are called as the
    first's, with the shape behind the name.
    """
    constants = Parameters()
    listed = [(network, *read_calls(network.module, constants)) for network in networks]
    needed = {value for _, calls, _ in listed for value in calls.parameters}
    places, size = place_in_a_row("parameters", [value for value in constants.tensors if value in needed])
    parameters = np.zeros(size, np.uint8)
    for value, place in places.items():
        numbers = constants.tensors[value].numpy().reshape(-1).view(np.uint8)
        parameters[place.offset : place.offset + value.bytes] = numbers
    kernels, entries, ladder = tvm.IRModule(), tvm.IRModule(), list[Rung]()
    letterboxes: dict[str, CanvasRows] = {LETTERBOX: FloatRows()}
    for network, calls, own in listed:
        suffix = "_" + "x".join(map(str, calls.input.shape)) if ladder else ""
        alignment = input_alignment(calls, own)
        shortcut = from_integers(calls, constants, own, normalization) if normalization else None
        if post:
            own[post.head.type] = extra_op(post, calls.input.shape, network.outputs)
        for variable, function in own.functions.items():
            kernels[variable.name_hint + suffix] = function
        plan = plan_memory(calls, places)
        sizes: dict[Region, int] = {
            "parameters": size,
            "workspace": plan.workspace_bytes,
            "outputs": plan.output_bytes,
        }
        integers = None
        if shortcut:
            rest, rows = shortcut
            rest_plan = plan_memory(rest, places)
            sizes["workspace"] = max(sizes["workspace"], rest_plan.workspace_bytes)
            spec = TensorSpec(INTEGERS + suffix, rest.input.shape, rest.input.dtype)
            add_entry_point(entries, spec, ALIGNMENT, rest_plan.located(rest, suffix), sizes)
            same = (name for name, other in letterboxes.items() if other == rows)
            integers = IntegerInput(spec, next(same, f"{LETTERBOX}_{INTEGERS}{suffix}"))
            letterboxes[integers.letterbox] = rows
        image = TensorSpec(MAIN + suffix, calls.input.shape, calls.input.dtype)
        recorded = plan.located(calls, suffix)
        add_entry_point(entries, image, alignment, recorded, sizes)
        ladder.append(
            Rung(suffix, network.input, tuple(network.outputs), alignment, sizes["workspace"], recorded, integers)
        )
    return Executable(kernels, entries, letterboxes, parameters, tuple(ladder))
