"""One graph by this compiler and by onnxruntime, on the same image."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
import onnxruntime
import tvm

from facedeploy.artifact.manifest import lay_out
from facedeploy.compiler.assemble import Executable, Network
from facedeploy.compiler.build import lower
from facedeploy.compiler.codegen import generate_code
from facedeploy.compiler.frontend.onnx_file import import_onnx
from facedeploy.compiler.target import Target
from facedeploy.core.amx import FEATURE, request_amx
from facedeploy.core.tensor_spec import TensorSpec
from facedeploy.runtime.memory import aligned

BOUND = 1e-4  # max|a - b| <= BOUND max(1, max|b|).


def worst_difference(model: onnx.ModelProto, image: np.ndarray, target: Target) -> float:
    """The largest max|a - b| / max(1, max|b|) of all outputs. Raises CompileError as `vamc compile` does."""
    got, expected = compiled(model, image, target), reference(model, image)
    assert [a.shape for a in got] == [b.shape for b in expected]
    differences = [
        float(np.abs(a - b).max(initial=0) / max(1.0, np.abs(b).max(initial=0)))
        for a, b in zip(got, expected, strict=True)
    ]
    assert all(np.isfinite(b).all() for b in expected)
    return float("inf") if np.isnan(differences).any() else max(differences)


def compiled(model: onnx.ModelProto, image: np.ndarray, target: Target) -> list[np.ndarray]:
    """The outputs by this compiler, without an artifact in between."""
    spec = TensorSpec(model.graph.input[0].name, image.shape, "float32")
    network = Network(spec, *import_onnx(model, spec, Path("model.onnx")))
    return run_executable(lower([network], target, None, None), image, target)


def run_executable(executable: Executable, image: np.ndarray, target: Target, rung: int = 0) -> list[np.ndarray]:
    """What the entry `main` of a rung makes of `image`."""
    shape = executable.ladder[rung]
    outputs = shape.outputs
    if FEATURE in target.features:
        request_amx()
    with TemporaryDirectory() as folder:
        path = Path(folder) / "mod.so"
        generate_code(executable.kernels, executable.entries, target).export_library(str(path))
        main = tvm.runtime.load_module(str(path)).get_function("main" + shape.suffix)
        offsets, size = lay_out(output.bytes for output in outputs)
        # Full of NaN, for whoever reads what nobody has written.
        regions = [aligned(size) for size in (image.nbytes, shape.workspace_bytes, size)]
        for region in regions:
            region[...] = 0xFF
        given, workspace, results = regions
        tensor = np.ndarray(image.shape, image.dtype, given)
        tensor[...] = image
        parameters = aligned(executable.parameters.size)
        parameters[...] = executable.parameters
        main(tensor, parameters, workspace, results)
    return [
        np.ndarray(output.shape, output.dtype, results, offset) for output, offset in zip(outputs, offsets, strict=True)
    ]


def reference(model: onnx.ModelProto, image: np.ndarray) -> list[np.ndarray]:
    """The outputs by onnxruntime."""
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {model.graph.input[0].name: image})
