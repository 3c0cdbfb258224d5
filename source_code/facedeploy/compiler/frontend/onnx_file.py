"""ONNX -> Relax."""

import contextlib
import gc
import io
import json
import os
import re
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tvm
from tvm import relax, tirx

from facedeploy.compiler.frontend.prepare_onnx import dequantize_constants, prepare_onnx
from facedeploy.compiler.frontend.reshape_onnx import reshape_onnx
from facedeploy.compiler.graph.attributes import Layer, with_layers
from facedeploy.compiler.reason import reason_of
from facedeploy.core.errors import CompileError
from facedeploy.core.requirement import require
from facedeploy.core.tensor_spec import TensorSpec
from facedeploy.quantize.layers import convolution_names

OPERATOR = re.compile(r"Error converting operator (\w+)")


def read_onnx(path: Path) -> Any:
    """Load and check an ONNX file; returns an onnx.ModelProto. Raises CompileError when it is none."""
    onnx = require("onnx", "compile", "Compiling an ONNX model")
    try:
        model = onnx.load(str(path))
        onnx.checker.check_model(model)
    except Exception as error:
        # protobuf, the checker and the reader of external data each raise types of their own.
        raise CompileError(f"frontend.checkpoint: {path} is not a usable ONNX model ({reason_of(error)})") from error
    return model


def with_static_input(model: Any, image: TensorSpec, file: Path) -> Any:
    """What `prepare_onnx` makes of an onnx.ModelProto, once its input is known to be one that `image` suits.

    `file` is for the errors. Raises CompileError: the model's input is another, or cannot have that shape; a node that
    cannot be rewritten.
    """
    check_input(model, image, file)
    try:
        return prepare_onnx(model, image)
    except Exception as error:
        # onnx's checks of a graph raise types of their own.
        raise CompileError(f"frontend.checkpoint: {file} cannot be imported: {reason_of(error)}") from error


def import_onnx(model: Any, image: TensorSpec, file: Path) -> tuple[tvm.IRModule, list[TensorSpec]]:
    """An onnx.ModelProto with its input fixed to `image` -> (Relax module with `main`, specs of its outputs).

    `file` is for the errors. Raises CompileError: the model's input is another, or cannot have that shape; an operator
    that TVM cannot import; an output without a static shape.
    """
    from tvm.relax.frontend.onnx import from_onnx

    prepared = with_static_input(model, image, file)
    layers = _layers(model, prepared)
    dequantize_constants(prepared)
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said):  # The importer prints which operator it was at.
            module = from_onnx(prepared, shape_dict={image.name: list(image.shape)}, keep_params_in_input=False)
    except Exception as error:
        # The importer reports what it lacks through several types, tvm.error.OpNotImplemented among them.
        reason = reason_of(error)
        _forget_frames(error)
        operator = OPERATOR.search(said.getvalue())
        at = f"the operator {operator[1]}: " if operator else ""
        raise CompileError(f"frontend.checkpoint: {file} cannot be imported: {at}{reason}") from error
    if not model.graph.output:
        raise CompileError(f"frontend.checkpoint: {file} has no outputs")
    returned = module["main"].ret_ty
    types = returned.fields if isinstance(returned, tvm.ir.TupleType) else [returned]
    module = with_layers(module, layers)
    return module, [_output_spec(entry.name, kind, file) for entry, kind in zip(model.graph.output, types, strict=True)]


def at_shape(model: Any, known: TensorSpec, image: TensorSpec, file: Path) -> Any:
    """An onnx.ModelProto made for the input `known`, for the input `image`.

    `file` is for the errors. Raises CompileError for a model whose nodes do not say what they would do there.
    """
    if image == known:
        return model
    check_input(model, known, file)
    try:
        return reshape_onnx(model, known, image)
    except ValueError as error:
        raise CompileError(
            f"frontend.ladder: {file} cannot be had for {list(image.shape)}: {error}; "
            "leave that shape out, or compile an export of it as an artifact of its own"
        ) from error


def _layers(model: Any, prepared: Any) -> list[Layer]:
    """The convolutions: names as the model has them, scales of weights as it was prepared."""
    from onnx import numpy_helper

    constants = {entry.name: entry for entry in prepared.graph.initializer}
    scales = {
        node.output[0]: tuple(numpy_helper.to_array(constants[node.input[1]]).reshape(-1).tolist())
        for node in prepared.graph.node
        if node.op_type == "DequantizeLinear" and all(name in constants for name in node.input)
    }
    convolutions = [node for node in prepared.graph.node if node.op_type == "Conv"]
    names = convolution_names(model)
    if len(names) != len(convolutions):
        return []
    return [Layer(name, scales.get(node.input[1], ())) for name, node in zip(names, convolutions, strict=True)]


def _forget_frames(error: BaseException) -> None:
    """Let go of what the importer had begun, which says so in a line of its own on the process's standard error."""
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with open(os.devnull, "wb") as nowhere:  # noqa: PTH123
            os.dup2(nowhere.fileno(), 2)
        link: BaseException | None = error
        while link is not None:
            traceback.clear_frames(link.__traceback__)
            link = link.__cause__ or link.__context__
        gc.collect()
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def metadata_of(model: Any) -> dict[str, str]:
    """What the file says of itself: producer and metadata properties."""
    producer = f"{model.producer_name} {model.producer_version}".strip()
    entries = {"producer": producer} if producer else {}
    return entries | {entry.key: entry.value for entry in model.metadata_props}


def image_inputs(model: Any) -> list[Any]:
    """The inputs of an onnx.ModelProto that are no constants, which old files list among them."""
    constants = {initializer.name for initializer in model.graph.initializer}
    return [entry for entry in model.graph.input if entry.name not in constants]


def sides_of(entry: Any) -> list[int | str]:
    """The shape of an input: a number, or the name of a side that may be any; `?` of one without a name."""
    return [side.dim_value or side.dim_param or "?" for side in entry.type.tensor_type.shape.dim]


def suits(sides: Sequence[int | str], image: TensorSpec) -> bool:
    """Whether an input of these sides may have the shape of `image`."""
    fixed = [got if isinstance(got, int) else want for got, want in zip(sides, image.shape, strict=False)]
    return len(sides) == len(image.shape) and fixed == list(image.shape)


def check_input(model: Any, image: TensorSpec, file: Path) -> None:
    """Raise CompileError unless an onnx.ModelProto has one input, which `image` suits. `file` is for the errors."""
    from onnx import TensorProto

    inputs = image_inputs(model)
    sides = [sides_of(entry) for entry in inputs]
    known = ", ".join(f"{entry.name}: {json.dumps(shape)}" for entry, shape in zip(inputs, sides, strict=True))
    if len(inputs) != 1:
        raise CompileError(f"frontend.checkpoint: {file} has {len(inputs)} inputs ({known}), expected one image input")
    if inputs[0].name != image.name:
        raise CompileError(f"frontend.shape: got an input {image.name!r}, the input of {file} is {known}")
    asked = list(image.shape)
    if not suits(sides[0], image):
        raise CompileError(f"frontend.shape.{image.name}: got {json.dumps(asked)}, the input of {file} is {known}")
    kind = inputs[0].type.tensor_type.elem_type
    if kind != TensorProto.FLOAT:
        raise CompileError(
            f"frontend.checkpoint: {file} takes {TensorProto.DataType.Name(kind)} numbers as {image.name}, expected "
            "FLOAT: export the model with a float32 input"
        )


def _output_spec(name: str, kind: Any, file: Path) -> TensorSpec:
    shape = kind.shape if isinstance(kind, relax.TensorType) else None
    if shape is None or not all(isinstance(side, tirx.IntImm) for side in shape):
        raise CompileError(
            f"frontend.checkpoint: {file}: the output {name} has no static shape ({kind}), which an artifact needs"
        )
    return TensorSpec(name, tuple(int(side) for side in shape), str(kind.dtype))
