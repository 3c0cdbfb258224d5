"""What an artifact offers beside `main`: a u8 entry, and post-processing."""

import tvm
from tvm import relax

from facedeploy.compiler.kernels.normalize import normalize
from facedeploy.core.normalization import Normalization

PIXELS = "pixels"


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
