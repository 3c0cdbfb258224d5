"""TorchScript -> ONNX, through torch: TVM 0.27 has no importer of its own for it."""

import io
import warnings
from pathlib import Path
from typing import Any

from facedeploy.compiler.reason import reason_of
from facedeploy.core.errors import CompileError
from facedeploy.core.requirement import require
from facedeploy.core.tensor_spec import TensorSpec

OUTPUT_NAMES = ("loc", "conf", "landms")
OPSET = 17


def torchscript_to_onnx(path: Path, image: TensorSpec) -> Any:
    """Convert a TorchScript file whose one input is `image`; returns an onnx.ModelProto.

    Raises DependencyError where torch is not installed, CompileError when the file is not TorchScript or has another
    input shape or operators that ONNX lacks.
    """
    torch = require("torch", "export", "frontend.type: torchscript is converted to ONNX through torch, which")
    onnx = require("onnx", "compile", "Compiling a TorchScript model")
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
    names = list(OUTPUT_NAMES) if count == len(OUTPUT_NAMES) else [f"output_{i}" for i in range(count)]
    buffer = io.BytesIO()
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                module,
                (example,),
                buffer,
                opset_version=OPSET,
                input_names=[image.name],
                output_names=names,
                dynamo=False,
            )
    except Exception as error:  # The exporter has many types of its own.
        raise CompileError(f"frontend.checkpoint: {path} cannot be converted to ONNX: {reason_of(error)}") from error
    model = onnx.load_from_string(buffer.getvalue())
    simplified, checked = require("onnxsim", "export", "Converting TorchScript").simplify(model)
    return simplified if checked else model
