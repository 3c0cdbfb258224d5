"""What an artifact offers: `main`, and beside it a u8 entry."""

from typing import Any

import tvm
from tvm import relax

from facedeploy.artifact.manifest import ALIGNMENT
from facedeploy.compiler.kernels.normalize import normalize
from facedeploy.core.normalization import Normalization

PIXELS = "pixels"
FLOAT_BYTES = 4


def add_pixels_entry(
    module: tvm.IRModule, normalization: Normalization, batch: int, canvas_hw: tuple[int, int]
) -> tvm.IRModule:
    """Add `pixels(canvas, *parameters)`: canvas (N, H, W, 3) u8 in the model's color order, then all that `main` does.

    Requires: `main` has one input and its constants are parameters. Ensures: `main` is unchanged.
    """
    main = module["main"]
    builder = relax.BlockBuilder(module.clone())
    canvas = relax.Var("canvas", relax.TensorType((batch, *canvas_hw, 3), "uint8"))
    parameters = [relax.Var(parameter.name, parameter.ty) for parameter in main.params[1:]]
    with builder.function(PIXELS, [canvas, *parameters], attrs={"num_input": 1}):
        kernel = builder.add_func(normalize(normalization, batch, canvas_hw), "normalize")
        tensor = builder.emit(relax.call_tir(kernel, [canvas], main.params[0].ty))
        outputs = builder.emit(relax.Call(module.get_global_var("main"), [tensor, *parameters]))
        builder.emit_func_output(outputs)
    return builder.get()


def input_alignment(module: tvm.IRModule, function: str = "main") -> int:
    """What the address of the first input must be a multiple of, bytes, for all that reads it.

    Kernels take their arguments to be aligned as tvm allocates, but for those that promise to read any float.
    """
    main = module[function]
    image = main.params[0]
    needs = [FLOAT_BYTES]

    def visit(expression: Any) -> None:
        if not isinstance(expression, relax.Call) or image not in relax.analysis.free_vars(expression):
            return
        needs.append(ALIGNMENT)
        if expression.op == tvm.ir.Op.get("relax.call_tir"):
            kernel, arguments = module[expression.args[0]], expression.args[1].fields
            buffers = [kernel.params[index] for index, argument in enumerate(arguments) if argument.same_as(image)]
            # Functions that tvm lowered have handles here, which say nothing.
            needs[-1] = max(int(getattr(buffer, "data_alignment", ALIGNMENT)) for buffer in buffers)

    relax.analysis.post_order_visit(main, visit)
    return max(needs)
