"""The file that a build config's `frontend` names, as an ONNX model."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from facedeploy.compiler.frontend.file_kind import CHECKPOINTS, PARAMETERS, expect_kind
from facedeploy.compiler.frontend.foreign import foreign_to_onnx
from facedeploy.compiler.frontend.onnx_file import read_onnx
from facedeploy.compiler.frontend.torchscript import torchscript_to_onnx
from facedeploy.config.build_config import Frontend
from facedeploy.core.errors import CompileError
from facedeploy.core.requirement import require
from facedeploy.core.tensor_spec import TensorSpec
from facedeploy.importers.caffe.to_onnx import import_caffe

# Where `cd source_code && python export.py` leaves what the shipped configs name.
EXPORT_FOLDER = Path("source_code")


def find_checkpoint(frontend: Frontend, note: Callable[[str], None]) -> Path:
    """The file of `frontend.checkpoint`: under the current directory, else where a checkout's export leaves it."""
    path = Path(frontend.checkpoint)
    if path.is_file():
        return path
    exported = EXPORT_FOLDER / path
    if not path.is_absolute() and exported.is_file():
        note(f"frontend.checkpoint: {path} is not in the current directory; using {exported}")
        return exported
    exports = "`python export.py` writes export_model/ under its current directory, "
    raise CompileError(
        f"frontend.checkpoint: {_absence(path)}; "
        f"{exports if path.parts[:1] == ('export_model',) else ''}--set frontend.checkpoint=X names another"
    )


def find_params(frontend: Frontend) -> Path:
    """The file of `frontend.params`, under the current directory.

    Raises CompileError when there is none, or it is of another kind.
    """
    path = Path(frontend.params or "")
    if frontend.params and path.is_file():
        expect_kind(PARAMETERS[frontend.type], path, "frontend.params")
        return path
    raise CompileError(f"frontend.params: {_absence(path)}; --set frontend.params=X names another")


def image_spec(frontend: Frontend) -> TensorSpec:
    """The input that the model is read, and first compiled, for."""
    return image_specs(frontend)[0]


def image_specs(frontend: Frontend) -> list[TensorSpec]:
    """All inputs that the model is compiled for."""
    return [TensorSpec(frontend.input_name, shape, "float32") for shape in frontend.shapes]


def read_checkpoint(path: Path, frontend: Frontend) -> Any:
    """The onnx.ModelProto in a file of `frontend.type`.

    Raises CompileError for a file of another kind, and what `read_onnx`, `torchscript_to_onnx`, `find_params` and
    `foreign_to_onnx` raise.
    """
    expect_kind(CHECKPOINTS[frontend.type], path, "frontend.checkpoint")
    match frontend.type:
        case "onnx":
            return read_onnx(path)
        case "torchscript":
            return torchscript_to_onnx(path, image_spec(frontend))
        case "caffe":
            return foreign_to_onnx(partial(import_caffe, path, find_params(frontend)), path, frontend.shapes)
        case "mxnet":
            require("onnx", "compile", "Importing an MXNet model")
            from facedeploy.importers.mxnet.import_mxnet import import_mxnet, import_random

            seed = frontend.random_weights
            if seed is not None:
                return foreign_to_onnx(partial(import_random, path, seed), path, frontend.shapes)
            return foreign_to_onnx(partial(import_mxnet, path, find_params(frontend)), path, frontend.shapes)


def _absence(path: Path) -> str:
    kind = "is a folder" if path.is_dir() else "does not exist"
    return f"{path} {kind} (current directory: {Path.cwd()})"
