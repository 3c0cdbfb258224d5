"""One graph by this compiler and by onnxruntime, on the same image."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import tvm

from facedeploy.compiler.build import lower
from facedeploy.compiler.codegen import generate_code
from facedeploy.compiler.frontend.onnx_file import import_onnx
from facedeploy.compiler.target import Target
from facedeploy.core.tensor_spec import TensorSpec

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
    module, _ = import_onnx(model, spec, Path("model.onnx"))
    executable = lower(module, image.shape, target, None, None)
    machine = tvm.relax.VirtualMachine(generate_code(executable.module, target).jit(), tvm.cpu())
    outputs = machine["main"](tvm.runtime.tensor(image), *executable.params)
    outputs = [outputs] if isinstance(outputs, tvm.runtime.Tensor) else list(outputs)
    return [output.numpy() for output in outputs]


def reference(model: onnx.ModelProto, image: np.ndarray) -> list[np.ndarray]:
    """The outputs by onnxruntime."""
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {model.graph.input[0].name: image})
