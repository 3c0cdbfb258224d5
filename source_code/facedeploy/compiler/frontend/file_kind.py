"""What kind of model file a file is, by how it starts: the parser of another kind has nothing to say that helps."""

import re
import zipfile
from dataclasses import dataclass
from pathlib import Path

from facedeploy.core.errors import CompileError

LOOKED_AT = 4096  # Bytes, so that a comment may come first.


@dataclass(frozen=True)
class FileKind:
    """`starts` matches how a file of the kind starts, and nothing else that is seen here; `use` is what to do with one.

    A ZIP is of the first kind whose `member` it has.
    """

    name: str
    use: str
    starts: re.Pattern[bytes]
    member: str = ""


def _pattern(text: bytes) -> re.Pattern[bytes]:
    return re.compile(text, re.DOTALL)


ZIP = _pattern(rb"PK\x03\x04")
ONNX = FileKind(
    "an ONNX model", "frontend.type: onnx reads it", _pattern(rb"\x08[\x01-\x20][\x12\x1a\x22\x28\x32\x3a\x42]")
)
TORCHSCRIPT = FileKind("TorchScript", "frontend.type: torchscript reads it", ZIP, "constants.pkl")
SYMBOL = FileKind(
    "an MXNet symbol",
    "frontend.type: mxnet reads it as frontend.checkpoint",
    _pattern(rb'\s*\{\s*"(nodes|arg_nodes|heads|node_row_ptr)"'),
)
PARAMS = FileKind(
    "the parameters of an MXNet net (.params)",
    "frontend.type: mxnet reads it as frontend.params",
    _pattern(rb"\x12\x01\0{6}"),
)
PROTOTXT = FileKind(
    "the text of a Caffe net (.prototxt)",
    "frontend.type: caffe reads it as frontend.checkpoint",
    _pattern(rb"(\xef\xbb\xbf)?(\s|#[^\n]*\n)*((name|input)\s*:\s*[\"']|(layers?|input_shape|state)\s*:?\s*\{)"),
)
CAFFEMODEL = FileKind(
    "the parameters of a Caffe net (.caffemodel)",
    "frontend.type: caffe reads it as frontend.params",
    _pattern(rb"(\n.{1,130})?\xa2\x06"),
)
# Of weights alone, which nothing here reads as a net.
CHECKPOINT = "a PyTorch checkpoint", "`facedeploy export` makes ONNX of it"
KINDS = (
    ONNX,
    TORCHSCRIPT,
    FileKind(*CHECKPOINT, ZIP, "data.pkl"),
    FileKind(*CHECKPOINT, _pattern(rb"\x80[\x02-\x05](\x95.{8})?\x8a\nl\xfc\x9cF")),
    SYMBOL,
    PARAMS,
    PROTOTXT,
    CAFFEMODEL,
)
CHECKPOINTS = {"onnx": ONNX, "torchscript": TORCHSCRIPT, "caffe": PROTOTXT, "mxnet": SYMBOL}
PARAMETERS = {"caffe": CAFFEMODEL, "mxnet": PARAMS}


def kind_of(path: Path) -> FileKind | None:
    """The kind of a file; None where its start does not tell, or it cannot be read."""
    try:
        with path.open("rb") as file:
            start = file.read(LOOKED_AT)
        fitting = [kind for kind in KINDS if kind.starts.match(start)]
        if fitting and fitting[0].starts is ZIP:
            with zipfile.ZipFile(path) as archive:
                members = {name.rpartition("/")[2] for name in archive.namelist()}
            fitting = [kind for kind in fitting if kind.member in members]
    except (OSError, ValueError, zipfile.BadZipFile):
        return None
    return fitting[0] if fitting else None


def expect_kind(expected: FileKind, path: Path, key: str) -> None:
    """Raise CompileError for a file that is of another kind for sure; `key` of the config is what names it."""
    found = kind_of(path)
    if found is not None and found is not expected:
        raise CompileError(f"{key}: {path} is not {expected.name} but {found.name}: {found.use}")
