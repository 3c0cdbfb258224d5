"""ONNX -> Relax."""

import json
from pathlib import Path
from typing import Any

import tvm

from facedeploy.core.errors import CompileError
from facedeploy.core.requirement import require
from facedeploy.core.tensor_spec import TensorSpec


def read_onnx(path: Path) -> Any:
    """Load and check an ONNX file; returns an onnx.ModelProto. Raises CompileError when it is none."""
    onnx = require("onnx", "compile", "Compiling an ONNX model")
    try:
        model = onnx.load(str(path))
        onnx.checker.check_model(model)
    except Exception as error:
        # protobuf, the checker and the reader of external data each raise types of their own.
        raise CompileError(f"frontend.checkpoint: {path} is not a usable ONNX model ({_first_line(error)})") from error
    return model


def import_onnx(model: Any, shape: dict[str, list[int]], file: str) -> tuple[tvm.IRModule, list[TensorSpec]]:
    """An onnx.ModelProto with its input fixed to `shape` -> (Relax module with `main`, specs of its outputs).

    Raises CompileError: `shape` names another input or a shape the graph cannot have; an operator TVM cannot import.
    """
    from tvm.relax.frontend.onnx import from_onnx

    _check_input(model, shape, file)
    try:
        module = from_onnx(model, shape_dict=shape, keep_params_in_input=False)
    except Exception as error:
        # The importer reports what it lacks through several types, tvm.error.OpNotImplemented among them.
        raise CompileError(f"frontend.checkpoint: {file} cannot be imported: {_first_line(error)}") from error
    names = [output.name for output in model.graph.output]
    returned = module["main"].ret_ty
    fields = list(returned.fields) if hasattr(returned, "fields") else [returned]
    outputs = [
        TensorSpec(name, tuple(int(side) for side in field.shape), str(field.dtype))
        for name, field in zip(names, fields, strict=True)
    ]
    return module, outputs


def metadata_of(model: Any) -> dict[str, str]:
    """What the file says of itself: producer and metadata properties."""
    producer = f"{model.producer_name} {model.producer_version}".strip()
    entries = {"producer": producer} if producer else {}
    return entries | {entry.key: entry.value for entry in model.metadata_props}


def _check_input(model: Any, shape: dict[str, list[int]], file: str) -> None:
    constants = {initializer.name for initializer in model.graph.initializer}
    inputs = {
        entry.name: [dim.dim_value or dim.dim_param or "?" for dim in entry.type.tensor_type.shape.dim]
        for entry in model.graph.input
        if entry.name not in constants
    }
    known = ", ".join(f"{name}: {json.dumps(sides)}" for name, sides in inputs.items())
    if len(inputs) != 1:
        raise CompileError(f"frontend.checkpoint: {file} has {len(inputs)} inputs ({known}), expected one image input")
    ((name, sides),) = inputs.items()
    ((asked, asked_sides),) = shape.items()
    if name != asked:
        raise CompileError(f"frontend.shape: got an input {asked!r}, the input of {file} is {known}")
    fixed = [got if isinstance(got, int) else want for got, want in zip(sides, asked_sides, strict=False)]
    if len(sides) != len(asked_sides) or fixed != asked_sides:
        raise CompileError(f"frontend.shape.{asked}: got {json.dumps(asked_sides)}, the input of {file} is {known}")


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:300] if lines else type(error).__name__
