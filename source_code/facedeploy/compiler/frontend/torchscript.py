"""TorchScript -> ONNX, through torch: TVM 0.27 has no importer of its own for it."""

from pathlib import Path
from typing import Any

from facedeploy.compiler.reason import reason_of
from facedeploy.core.errors import CompileError
from facedeploy.core.requirement import require
from facedeploy.core.tensor_spec import TensorSpec


def torchscript_to_onnx(path: Path, image: TensorSpec) -> Any:
    """Convert a TorchScript file whose one input is `image`; returns an onnx.ModelProto.

    Raises DependencyError where torch is not installed, CompileError when the file is not TorchScript or has another
    input shape or operators that ONNX lacks.
    """
    torch = require("torch", "export", "frontend.type: torchscript is converted to ONNX through torch, which")
    require("onnxsim", "export", "Converting TorchScript")
    from facedeploy.export.onnx_graph import onnx_graph
    from facedeploy.models.specs import OUTPUTS

    try:
        module = torch.jit.load(str(path), map_location="cpu").eval()
    except (RuntimeError, ValueError) as error:
        raise CompileError(f"frontend.checkpoint: {path} is not TorchScript ({reason_of(error)})") from error
    example = torch.zeros(image.shape)
    try:
        with torch.no_grad():
            results = module(example)
    except Exception as error:  # Whatever the operators of a traced graph raise; the last line says what.
        reason = (str(error).strip() or type(error).__name__).splitlines()[-1]
        raise CompileError(
            f"frontend.checkpoint: {path} does not take frontend.shape {list(image.shape)} ({reason}): TorchScript is "
            "traced at one batch and size, export it at these"
        ) from error
    count = len(results) if isinstance(results, (tuple, list)) else 1
    names = OUTPUTS if count == len(OUTPUTS) else [f"output_{index}" for index in range(count)]
    try:
        with torch.no_grad():
            return onnx_graph(module, image.shape, input_name=image.name, output_names=names)  # type: ignore[arg-type]
    except Exception as error:  # The exporter has many types of its own.
        raise CompileError(f"frontend.checkpoint: {path} cannot be converted to ONNX: {reason_of(error)}") from error
