"""Files of models are told by how they start; a file of another kind is one sentence that says what to do with it."""

import io
import json
from pathlib import Path

import caffe_net
import numpy as np
import onnx
import pytest
from params_file import params_bytes
from small_symbol import Net

from facedeploy.compiler.frontend.checkpoint import read_checkpoint
from facedeploy.compiler.frontend.file_kind import KINDS, PARAMETERS, kind_of
from facedeploy.config.build_config import Frontend
from facedeploy.core.errors import CompileError

SHAPE = (1, 3, 8, 8)
PYTORCH, SYMBOL, PARAMS = "a PyTorch checkpoint", "an MXNet symbol", "the parameters of an MXNet net (.params)"
PROTOTXT, CAFFEMODEL = "the text of a Caffe net (.prototxt)", "the parameters of a Caffe net (.caffemodel)"


def saved(scripted: bool, **options: int) -> bytes:
    torch = pytest.importorskip("torch", reason="only torch writes its files")
    file = io.BytesIO()
    if scripted:
        torch.jit.save(torch.jit.script(torch.nn.ReLU()), file)
    else:
        torch.save({"weight": torch.zeros(3)}, file, **options)
    return file.getvalue()


def onnx_bytes() -> bytes:
    entry = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, SHAPE) for name in ("input", "out")]
    node = onnx.helper.make_node("Relu", ["input"], ["out"])
    return onnx.helper.make_model(onnx.helper.make_graph([node], "net", entry[:1], entry[1:])).SerializeToString()


FILES = {
    "onnx": ("an ONNX model", onnx_bytes),
    "torchscript": ("TorchScript", lambda: saved(True)),
    "pth": (PYTORCH, lambda: saved(False)),
    "old pth": (PYTORCH, lambda: saved(False, _use_new_zipfile_serialization=False)),
    "old pth of protocol 4": (PYTORCH, lambda: saved(False, _use_new_zipfile_serialization=False, pickle_protocol=4)),
    "symbol": (SYMBOL, lambda: json.dumps(Net().symbol(0), indent=2).encode()),
    "params": (PARAMS, lambda: params_bytes({"arg:a": np.zeros(3, np.float32)})),
    "prototxt": (PROTOTXT, lambda: b'# A net\n\nname: "net"\nlayer { name: "a" }\n'),
    "nameless prototxt": (PROTOTXT, lambda: b"\nlayer: { }"),
    "caffemodel": (CAFFEMODEL, lambda: caffe_net.caffemodel_bytes({"a": [np.zeros(3)]})),
    "nameless caffemodel": (CAFFEMODEL, lambda: caffe_net.caffemodel_bytes({"a": [np.zeros(3)]})[7:]),
}


@pytest.mark.parametrize("name", FILES)
def test_kind_of_a_file_is_told_and_no_other_kind_fits(tmp_path: Path, name: str) -> None:
    expected, content = FILES[name]
    path = tmp_path / "file"
    path.write_bytes(content())
    found = kind_of(path)
    assert found is not None
    assert found.name == expected
    assert {kind.name for kind in KINDS if kind.starts.match(content()) and kind.starts is not found.starts} == set()


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"nothing", b"PK\x03\x04", b"\x08", b"\nname", b"\x80\x02}q\x00.", b"\0" * 5000]
)
def test_what_does_not_tell_is_left_to_the_parser(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file").write_bytes(content)
    assert kind_of(tmp_path / "file") is None
    assert kind_of(tmp_path) is None


@pytest.mark.parametrize(
    ("frontend", "file", "said"),
    [
        ("caffe", "symbol", f"not {PROTOTXT} but {SYMBOL}: frontend.type: mxnet reads it as frontend.checkpoint"),
        ("caffe", "caffemodel", f"not {PROTOTXT} but {CAFFEMODEL}: frontend.type: caffe reads it as frontend.params"),
        ("mxnet", "prototxt", f"not {SYMBOL} but {PROTOTXT}: frontend.type: caffe reads it as frontend.checkpoint"),
        ("mxnet", "params", f"not {SYMBOL} but {PARAMS}: frontend.type: mxnet reads it as frontend.params"),
        ("mxnet", "onnx", f"not {SYMBOL} but an ONNX model: frontend.type: onnx reads it"),
        ("onnx", "pth", f"not an ONNX model but {PYTORCH}: `facedeploy export` makes ONNX of it"),
        ("onnx", "old pth", f"not an ONNX model but {PYTORCH}: `facedeploy export` makes ONNX of it"),
        ("onnx", "symbol", f"not an ONNX model but {SYMBOL}: frontend.type: mxnet reads it as frontend.checkpoint"),
        ("torchscript", "onnx", "not TorchScript but an ONNX model: frontend.type: onnx reads it"),
        ("torchscript", "pth", f"not TorchScript but {PYTORCH}: `facedeploy export` makes ONNX of it"),
    ],
)
def test_checkpoint_of_another_kind_says_what_it_is(tmp_path: Path, frontend: str, file: str, said: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(FILES[file][1]())
    config = Frontend(frontend, str(path), {"data": SHAPE}, params=str(path) if frontend in PARAMETERS else None)
    with pytest.raises(CompileError) as caught:
        read_checkpoint(path, config)
    assert str(caught.value) == f"frontend.checkpoint: {path} is {said}"


@pytest.mark.parametrize(("frontend", "net", "params"), [("caffe", "prototxt", "params"), ("mxnet", "symbol", "pth")])
def test_params_of_another_kind_say_what_they_are(tmp_path: Path, frontend: str, net: str, params: str) -> None:
    for name in (net, params):
        (tmp_path / name).write_bytes(FILES[name][1]())
    config = Frontend(frontend, str(tmp_path / net), {"data": SHAPE}, params=str(tmp_path / params))
    with pytest.raises(CompileError) as caught:
        read_checkpoint(tmp_path / net, config)
    expected, found = PARAMETERS[frontend].name, FILES[params][0]
    assert str(caught.value).startswith(f"frontend.params: {tmp_path / params} is not {expected} but {found}: ")


def test_files_that_are_shipped_elsewhere_are_told(shared_data: Path) -> None:
    kinds = {
        ".pth": PYTORCH, ".onnx": "an ONNX model", ".json": SYMBOL, ".params": PARAMS,
        ".prototxt": PROTOTXT, ".caffemodel": CAFFEMODEL,
    }  # fmt: skip
    files = [path for path in (shared_data / "weights").rglob("*") if path.suffix in kinds]
    if not files:
        pytest.skip(f"no weights in {shared_data}")
    for path in files:
        found = kind_of(path)
        assert found is not None, path
        assert found.name == kinds[path.suffix]
