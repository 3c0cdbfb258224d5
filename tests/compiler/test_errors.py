"""Every mistake in what is compiled is one clear sentence, and writes nothing."""

import gc
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from tvm.support import cc

from facedeploy.compiler.build import compile_model
from facedeploy.compiler.reason import LONGEST, reason_of
from facedeploy.config.build_config import BuildConfig
from facedeploy.config.extra_ops import PriorParams
from facedeploy.core.errors import ArtifactError, CompileError, DependencyError, FacedeployError

MakeConfig = Callable[..., BuildConfig]
MakeGraph = Callable[..., onnx.ModelProto]
SHAPE = (1, 3, 64, 64)
POST = PriorParams(nms_threshold=0.4, confidence_threshold=0.02, anchor=(16, 32, 64, 128, 256, 512))


def refusal(config: BuildConfig, kind: type[FacedeployError] = CompileError) -> str:
    """The message of the error that compiling raises, which is one line and leaves no file."""
    notes: list[str] = []
    with pytest.raises(kind) as caught:
        compile_model(config, notes.append)
    message = str(caught.value)
    assert type(caught.value) is kind
    assert "\n" not in message
    assert len(message) < 800
    folder = Path(config.workspace.path)
    assert not folder.is_dir() or not list(folder.rglob("*"))
    return message


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    return tmp_path / "weights"


def test_missing_checkpoint_names_the_current_folder(
    weights: Path, tmp_path: Path, make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    message = refusal(make_config("export_model/no.onnx", weights, SHAPE))
    assert f"export_model/no.onnx does not exist (current directory: {tmp_path})" in message
    assert "python export.py" in message
    assert "--set frontend.checkpoint=" in message


def test_folder_as_checkpoint(weights: Path, tmp_path: Path, make_config: MakeConfig) -> None:
    assert f"frontend.checkpoint: {tmp_path} is a folder" in refusal(make_config(tmp_path, weights, SHAPE))


def test_checkpoint_beside_a_checkout_s_export_is_used_and_told(
    heads_file: Path, tmp_path: Path, make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "source_code" / "export_model").mkdir(parents=True)
    shutil.copy(heads_file, tmp_path / "source_code" / "export_model" / "net.onnx")
    monkeypatch.chdir(tmp_path)
    notes: list[str] = []
    artifact = compile_model(make_config("export_model/net.onnx", Path("weights"), SHAPE), notes.append)
    assert notes == [
        "frontend.checkpoint: export_model/net.onnx is not in the current directory; "
        "using source_code/export_model/net.onnx"
    ]
    assert artifact.prefix == Path("weights/net/mod")
    absolute = refusal(make_config("/export_model/net.onnx", tmp_path / "none", SHAPE))
    assert "/export_model/net.onnx does not exist" in absolute


@pytest.mark.parametrize(
    "content", [b"", b"\0" * 100, b"name: net\n", b"\x80\x02}q\x00.", b"PK\x03\x04", bytes(range(256))]
)
def test_file_that_is_no_onnx(content: bytes, weights: Path, tmp_path: Path, make_config: MakeConfig) -> None:
    file = tmp_path / "model.onnx"
    file.write_bytes(content)
    assert f"frontend.checkpoint: {file} is not a usable ONNX model" in refusal(make_config(file, weights, SHAPE))


@pytest.mark.parametrize("fraction", [0.1, 0.5, 0.9, 0.999])
def test_onnx_that_is_cut_short(fraction: float, heads_file: Path, weights: Path, make_config: MakeConfig) -> None:
    content = heads_file.read_bytes()
    heads_file.write_bytes(content[: int(len(content) * fraction)])
    assert "is not a usable ONNX model" in refusal(make_config(heads_file, weights, SHAPE))


def test_onnx_whose_graph_is_damaged(heads_model: onnx.ModelProto, weights: Path, tmp_path: Path, make_config) -> None:
    damaged = onnx.ModelProto()
    damaged.CopyFrom(heads_model)
    damaged.graph.node[0].input[0] = "nowhere"
    onnx.save(damaged, tmp_path / "model.onnx")
    message = refusal(make_config(tmp_path / "model.onnx", weights, SHAPE))
    assert "is not a usable ONNX model" in message
    assert "nowhere" in message


def test_onnx_whose_weights_are_in_a_file_that_is_missing(
    heads_model: onnx.ModelProto, weights: Path, tmp_path: Path, make_config: MakeConfig
) -> None:
    separate = onnx.ModelProto()
    separate.CopyFrom(heads_model)
    onnx.save(separate, tmp_path / "model.onnx", save_as_external_data=True, location="model.bin", size_threshold=0)
    (tmp_path / "model.bin").unlink()
    message = refusal(make_config(tmp_path / "model.onnx", weights, SHAPE))
    assert "model.bin" in message


def test_input_of_another_name(heads_file: Path, weights: Path, make_config: MakeConfig) -> None:
    message = refusal(make_config(heads_file, weights, SHAPE, input_name="data"))
    assert message == f"frontend.shape: got an input 'data', the input of {heads_file} is input: [1, 3, 64, 64]"


@pytest.mark.parametrize("shape", [(1, 3, 64, 96), (2, 3, 64, 64), (1, 3, 32, 32)])
def test_input_of_another_shape(shape, heads_file: Path, weights: Path, make_config: MakeConfig) -> None:
    message = refusal(make_config(heads_file, weights, shape))
    assert message == (f"frontend.shape.input: got {list(shape)}, the input of {heads_file} is input: [1, 3, 64, 64]")


def test_open_shape_that_the_graph_cannot_have(
    make_graph: MakeGraph, weights: Path, tmp_path: Path, make_config: MakeConfig
) -> None:
    kernel = {"kernel": np.ones((2, 4, 3, 3), np.float32)}
    model = make_graph([helper.make_node("Conv", ["input", "kernel"], ["y"])], ["y"], kernel, ("N", "C", "H", "W"))
    onnx.save(model, tmp_path / "model.onnx")
    message = refusal(make_config(tmp_path / "model.onnx", weights, (1, 3, 8, 8)))
    assert "cannot be imported" in message


def one_node(kind: str, **attributes: object) -> onnx.NodeProto:
    return helper.make_node(kind, ["input"], ["y"], **attributes)


@pytest.mark.parametrize(
    ("kind", "numbers", "said"),
    [
        ("Det", TensorProto.FLOAT, "not supported for frontend ONNX: Det"),
        ("NonZero", TensorProto.INT64, "the output y has no static shape"),
    ],
)
def test_operator_that_cannot_be_compiled(
    kind: str, numbers: int, said: str, make_graph: MakeGraph, weights: Path, tmp_path: Path, make_config: MakeConfig
) -> None:
    model = make_graph([one_node(kind)], ["y"], {}, (1, 3, 8, 8), output_kind=numbers)
    onnx.save(model, tmp_path / "model.onnx")
    message = refusal(make_config(tmp_path / "model.onnx", weights, (1, 3, 8, 8)))
    assert said in message
    assert str(tmp_path / "model.onnx") in message


def test_failed_import_says_one_sentence_and_names_the_operator(
    make_graph: MakeGraph,
    weights: Path,
    tmp_path: Path,
    make_config: MakeConfig,
    capfd: pytest.CaptureFixture[str],
) -> None:
    nodes = [
        helper.make_node("Reshape", ["input", "shape"], ["flat"]),
        helper.make_node("ReduceMax", ["flat"], ["most"], axes=[1], keepdims=0),
        helper.make_node("Cast", ["most"], ["sizes"], to=TensorProto.INT64),
        helper.make_node("Resize", ["input", "", "", "sizes"], ["y"]),
    ]
    onnx.save(make_graph(nodes, ["y"], {"shape": np.array([4, -1])}, (1, 3, 8, 8)), tmp_path / "model.onnx")
    message = refusal(make_config(tmp_path / "model.onnx", weights, (1, 3, 8, 8)))
    assert "cannot be imported: the operator Resize: " in message
    gc.collect()
    assert capfd.readouterr() == ("", "")


def test_operator_without_a_lowering_is_named(
    make_graph: MakeGraph, weights: Path, tmp_path: Path, make_config: MakeConfig
) -> None:
    node = helper.make_node("TopK", ["input", "k"], ["y", "indices"])
    onnx.save(make_graph([node], ["y"], {"k": np.array([2])}, (1, 3, 8, 8)), tmp_path / "model.onnx")
    message = refusal(make_config(tmp_path / "model.onnx", weights, (1, 3, 8, 8)))
    assert "TVM cannot compile" in message
    assert "topk" in message


def test_operator_of_another_domain(
    heads_model: onnx.ModelProto, weights: Path, tmp_path: Path, make_config: MakeConfig
) -> None:
    model = onnx.ModelProto()
    model.CopyFrom(heads_model)
    model.opset_import.append(helper.make_opsetid("my.domain", 1))
    model.graph.node.append(helper.make_node("Wonder", ["loc"], ["z"], domain="my.domain"))
    model.graph.output.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, [1]))
    onnx.save(model, tmp_path / "model.onnx")
    assert "Wonder" in refusal(make_config(tmp_path / "model.onnx", weights, SHAPE))


def test_input_that_is_not_float32(
    make_graph: MakeGraph, weights: Path, tmp_path: Path, make_config: MakeConfig
) -> None:
    node = one_node("Cast", to=TensorProto.FLOAT)
    onnx.save(make_graph([node], ["y"], {}, (1, 3, 8, 8), TensorProto.UINT8), tmp_path / "model.onnx")
    message = refusal(make_config(tmp_path / "model.onnx", weights, (1, 3, 8, 8)))
    assert "takes UINT8 numbers as input, expected FLOAT" in message


def test_model_with_two_inputs_or_no_output(
    make_graph: MakeGraph, weights: Path, tmp_path: Path, make_config: MakeConfig
) -> None:
    model = make_graph([one_node("Relu")], ["y"], {}, (1, 3, 8, 8))
    model.graph.input.append(helper.make_tensor_value_info("mask", TensorProto.FLOAT, [1, "K"]))
    onnx.save(model, tmp_path / "two.onnx")
    message = refusal(make_config(tmp_path / "two.onnx", weights, (1, 3, 8, 8)))
    assert 'has 2 inputs (input: [1, 3, 8, 8], mask: [1, "K"]), expected one image input' in message
    onnx.save(make_graph([one_node("Relu")], [], {}, (1, 3, 8, 8)), tmp_path / "none.onnx")
    assert "has no outputs" in refusal(make_config(tmp_path / "none.onnx", weights, (1, 3, 8, 8)))


@pytest.mark.parametrize(
    ("changed", "count"),
    [({"anchor": (16, 32, 64, 128), "strides": (8, 16)}, 160), ({"strides": (4, 8, 16)}, 672)],
)
def test_anchors_that_make_another_number_of_priors(
    changed: dict, count: int, heads_file: Path, weights: Path, make_config: MakeConfig
) -> None:
    post = replace(POST, **changed)
    message = refusal(make_config(heads_file, weights, SHAPE, post=post))
    assert message == (
        f"graph.extra_ops.params: anchor {list(post.anchor)} at strides {list(post.strides)} makes {count} priors on "
        f"64x64 (height x width), expected an output loc float32[1,{count},4]; the model has loc float32[1,168,4]"
    )


def test_model_without_the_three_heads(
    make_graph: MakeGraph, weights: Path, tmp_path: Path, make_config: MakeConfig
) -> None:
    onnx.save(make_graph([one_node("Relu")], ["y"], {}, SHAPE), tmp_path / "model.onnx")
    message = refusal(make_config(tmp_path / "model.onnx", weights, SHAPE, post=POST))
    assert message == (
        "graph.extra_ops: retinaface_nms needs one output loc of shape (N, priors, 4); the model's outputs are "
        "y float32[1,3,64,64]"
    )


def test_heads_of_other_names_are_found_by_their_last_axis_unless_two_fit(
    heads_model: onnx.ModelProto, tmp_path: Path, make_config: MakeConfig
) -> None:
    def renamed(names: dict[str, str]) -> Path:
        model = onnx.ModelProto()
        model.CopyFrom(heads_model)
        for output in model.graph.output:
            model.graph.node.append(helper.make_node("Identity", [output.name], [names[output.name]]))
            output.name = names[output.name]
        onnx.save(model, tmp_path / "renamed.onnx")
        return tmp_path / "renamed.onnx"

    file = renamed({"loc": "boxes", "conf": "scores", "landms": "points"})
    artifact = compile_model(make_config(file, tmp_path / "named", SHAPE, post=POST))
    assert artifact.manifest.postprocess is not None
    assert artifact.manifest.postprocess.inputs == ("boxes", "scores", "points")

    model = onnx.load(file)
    model.graph.node.append(helper.make_node("Relu", ["boxes"], ["more"]))
    model.graph.output.append(helper.make_tensor_value_info("more", TensorProto.FLOAT, [1, 168, 4]))
    onnx.save(model, file)
    message = refusal(make_config(file, tmp_path / "none", SHAPE, post=POST))
    assert "needs one output loc of shape (N, priors, 4)" in message
    assert "boxes float32[1,168,4]" in message
    assert "more float32[1,168,4]" in message


@pytest.mark.parametrize("name", ["avx9", '{"kind": "llvm", "mcpu": "nocpu"}', '{"kind": "llvm", "mtriple": "arm-x"}'])
def test_unknown_target(name: str, heads_file: Path, weights: Path, make_config: MakeConfig) -> None:
    assert refusal(make_config(heads_file, weights, SHAPE, target=name)).startswith("backend.target: ")


def test_no_c_compiler(
    heads_file: Path, weights: Path, make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cc, "get_cc", lambda: None)
    message = refusal(make_config(heads_file, weights, SHAPE), DependencyError)
    assert "needs a C compiler" in message
    assert "apt-get install gcc" in message


def test_c_compiler_that_fails(
    heads_file: Path, weights: Path, tmp_path: Path, make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiler = tmp_path / "cc"
    compiler.write_text("#!/bin/sh\necho 'no space for the output' >&2\nexit 1\n")
    compiler.chmod(0o755)
    monkeypatch.setattr(cc, "get_cc", lambda: str(compiler))
    monkeypatch.setenv("CXX", str(compiler))
    config = make_config(heads_file, weights, SHAPE)
    with pytest.raises(CompileError, match=r"linking mod\.so failed: .*no space for the output") as caught:
        compile_model(config)
    assert "\n" not in str(caught.value)
    assert not [path for path in weights.rglob("*") if path.is_file()]


def test_workspace_that_cannot_be_written(heads_file: Path, tmp_path: Path, make_config: MakeConfig) -> None:
    (tmp_path / "file").touch()
    message = refusal(make_config(heads_file, tmp_path / "file" / "weights", SHAPE), ArtifactError)
    assert message.endswith("choose another workspace.path")
    assert str(tmp_path / "file" / "weights") in message


@pytest.mark.parametrize("content", [b"", b"nothing", b"PK\x03\x04"])
def test_file_that_is_no_torchscript(content: bytes, weights: Path, tmp_path: Path, make_config: MakeConfig) -> None:
    (tmp_path / "net.pt").write_bytes(content)
    message = refusal(make_config(tmp_path / "net.pt", weights, SHAPE, kind="torchscript"))
    assert f"frontend.checkpoint: {tmp_path / 'net.pt'} is not TorchScript" in message


def test_frontend_of_the_other_type(heads_file: Path, exported_net, weights: Path, make_config: MakeConfig) -> None:
    assert "is not TorchScript" in refusal(make_config(heads_file, weights, SHAPE, kind="torchscript"))
    torchscript = exported_net.torchscript.path
    said = refusal(make_config(torchscript, weights, (2, 3, 64, 96)))
    assert said == (
        f"frontend.checkpoint: {torchscript} is not an ONNX model but TorchScript: frontend.type: torchscript reads it"
    )


def test_state_dict_is_no_torchscript(weights: Path, tmp_path: Path, make_config: MakeConfig) -> None:
    torch.save({"weight": torch.zeros(3)}, tmp_path / "net.pth")
    message = refusal(make_config(tmp_path / "net.pth", weights, SHAPE, kind="torchscript"))
    assert message.endswith("is not TorchScript but a PyTorch checkpoint: `facedeploy export` makes ONNX of it")


def test_torchscript_that_takes_another_shape(exported_net, weights: Path, make_config: MakeConfig) -> None:
    for shape in ((1, 3, 64, 96), (2, 3, 96, 128)):
        message = refusal(make_config(exported_net.torchscript.path, weights, shape, kind="torchscript"))
        assert f"{exported_net.torchscript.path} does not take frontend.shape {list(shape)} (" in message
        assert message.endswith("TorchScript is traced at one batch and size, export it at these")
        assert "Traceback" not in message


def test_torchscript_with_an_operator_that_onnx_lacks(weights: Path, tmp_path: Path, make_config: MakeConfig) -> None:
    class Net(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.special.i1(x)

    torch.jit.trace(Net(), torch.zeros(1, 3, 8, 8)).save(tmp_path / "net.pt")
    message = refusal(make_config(tmp_path / "net.pt", weights, (1, 3, 8, 8), kind="torchscript"))
    assert f"{tmp_path / 'net.pt'} cannot be converted to ONNX: " in message
    assert "i1" in message


def test_reason_is_one_short_line() -> None:
    assert reason_of(ValueError("a\n  b\n")) == "a b"
    assert reason_of(ValueError()) == "ValueError"
    assert len(reason_of(RuntimeError("word " * 1000))) <= LONGEST
