import json
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import onnx
import pytest
import torch

from facedeploy.core.errors import ConfigError
from facedeploy.export import export_model as module
from facedeploy.export.export_model import ExportReport, export_model
from facedeploy.export.onnx_graph import onnx_graph
from facedeploy.export.opset import OPSETS
from facedeploy.export.parity import ParityError, compare, noise_pixels, run_eager, run_onnx, run_torchscript
from facedeploy.export.random_weights import random_weights
from facedeploy.export.weights import Weights, build_net
from facedeploy.models.specs import MODELS, OUTPUTS, ModelSpec


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory, spec: ModelSpec, weights: Weights) -> ExportReport:
    return export_model(spec, (64, 96), weights=weights, batch=2, output_dir=tmp_path_factory.mktemp("exported"))


def check_against_eager(report: ExportReport, spec: ModelSpec, weights: Weights) -> None:
    """Parity, measured again on pixels that the export has not seen."""
    x = noise_pixels(spec, (report.batch, 3, *report.size_hw), seed=9)
    expected = run_eager(build_net(spec, weights), x)
    by_name = run_onnx(report.onnx.path, x)
    for got in (run_torchscript(report.torchscript.path, x), [by_name[output] for output in spec.outputs]):
        for a, b in zip(got, expected, strict=True):
            assert np.abs(a - b).max() <= 1e-4 * max(1, np.abs(b).max())


def test_both_files_compute_what_the_net_computes(exported: ExportReport, spec: ModelSpec, weights: Weights) -> None:
    check_against_eager(exported, spec, weights)
    names = sorted(path.name for path in exported.onnx.path.parent.iterdir())
    assert names == ["mobilenet0.25_64x96.onnx", "mobilenet0.25_64x96.torchscript.pt"]
    for file in (exported.torchscript, exported.onnx):
        assert file.size_bytes == file.path.stat().st_size
        assert [parity.name for parity in file.parity] == ["loc", "conf", "landms"]
        assert all(parity.holds for parity in file.parity)
    assert exported.parameters == 426_608


@pytest.mark.parametrize("opset", [OPSETS.start, OPSETS.stop - 1])
def test_parity_holds_when_no_side_is_a_multiple_of_a_stride(
    tmp_path: Path, spec: ModelSpec, weights: Weights, opset: int
) -> None:
    report = export_model(spec, (75, 101), weights=weights, opset=opset, output_dir=tmp_path)
    check_against_eager(report, spec, weights)
    assert onnx.load(report.onnx.path).opset_import[0].version == opset


def test_onnx_graph_is_static_folded_and_named(exported: ExportReport) -> None:
    model = onnx.load(exported.onnx.path)
    shapes = {
        value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in [*model.graph.input, *model.graph.output]
    }
    assert shapes == {"input": [2, 3, 64, 96], "loc": [2, 252, 4], "conf": [2, 252, 2], "landms": [2, 252, 10]}
    kinds = [node.op_type for node in model.graph.node]
    assert set(kinds) == {"Conv", "LeakyRelu", "Relu", "Add", "Resize", "Concat", "Transpose", "Reshape", "Softmax"}
    assert kinds.count("Conv") == 56
    assert model.opset_import[0].version == 17


def test_files_tell_model_priors_normalization_and_weights(exported: ExportReport) -> None:
    told = {entry.key: entry.value for entry in onnx.load(exported.onnx.path).metadata_props}
    assert told["facedeploy.model"] == "mobilenet0.25"
    assert json.loads(told["facedeploy.priors"])["min_sizes"] == [[16, 32], [64, 128], [256, 512]]
    assert json.loads(told["facedeploy.normalization"])["mean"] == [104, 117, 123]
    assert json.loads(told["facedeploy.normalization"])["color_order"] == "BGR"
    assert told["facedeploy.weights_sha256"] == "random, seed 0"
    extra = dict.fromkeys(told, "")
    torch.jit.load(exported.torchscript.path, _extra_files=extra)
    assert {name: value.decode() for name, value in extra.items()} == told


def test_same_weights_give_the_same_bytes(
    tmp_path: Path, exported: ExportReport, spec: ModelSpec, weights: Weights
) -> None:
    again = export_model(spec, (64, 96), weights=weights, batch=2, output_dir=tmp_path)
    assert again.torchscript.path.read_bytes() == exported.torchscript.path.read_bytes()
    assert again.onnx.path.read_bytes() == exported.onnx.path.read_bytes()


def test_torchscript_names_no_folder_of_this_machine(exported: ExportReport, repository: Path) -> None:
    with ZipFile(exported.torchscript.path) as archive:
        contents = [archive.read(name) for name in archive.namelist()]
    folders = (repository, Path(torch.__file__).parent, exported.torchscript.path.parent)
    assert not any(str(folder).encode() in content for folder in folders for content in contents)


def test_torchscript_becomes_the_same_graph(exported: ExportReport, spec: ModelSpec) -> None:
    shape = (2, 3, 64, 96)
    x = noise_pixels(spec, shape, seed=2)
    converted = onnx_graph(torch.jit.load(exported.torchscript.path), shape)
    got, expected = run_onnx(converted.SerializeToString(), x), run_onnx(exported.onnx.path, x)
    parity = compare([got[name] for name in OUTPUTS], [expected[name] for name in OUTPUTS])
    assert all(output.holds for output in parity)


def test_resnet50_exports(tmp_path: Path) -> None:
    spec = MODELS["Resnet50"]
    report = export_model(spec, (64, 64), weights=random_weights(spec, 0), output_dir=tmp_path)
    assert report.parameters == spec.parameters
    assert "LeakyRelu" not in {node.op_type for node in onnx.load(report.onnx.path).graph.node}


@pytest.mark.parametrize("hw", [(64, 96), (100, 75)])
@pytest.mark.parametrize("name", ["mobilenet0.25_FD1MB", "slim", "RFB", "lightDSFD"])
def test_other_nets_export(tmp_path: Path, name: str, hw: tuple[int, int]) -> None:
    spec = MODELS[name]
    weights = random_weights(spec, 0)
    report = export_model(spec, hw, weights=weights, output_dir=tmp_path)
    check_against_eager(report, spec, weights)
    assert report.parameters == spec.parameters
    assert tuple(parity.name for parity in report.onnx.parity) == spec.outputs
    model = onnx.load(report.onnx.path)
    assert tuple(value.name for value in model.graph.output) == spec.outputs
    assert "BatchNormalization" not in {node.op_type for node in model.graph.node}
    told = {entry.key: entry.value for entry in model.metadata_props}
    assert told["facedeploy.model"] == name
    assert tuple(map(tuple, json.loads(told["facedeploy.priors"])["min_sizes"])) == spec.priors.min_sizes


@pytest.mark.parametrize(("broken", "value"), [("run_torchscript", 1.0), ("run_onnx", float("nan"))])
def test_nothing_is_written_when_parity_fails(
    tmp_path: Path, spec: ModelSpec, weights: Weights, monkeypatch: pytest.MonkeyPatch, broken: str, value: float
) -> None:
    real = getattr(module, broken)

    def wrong(path: Path, x: np.ndarray) -> object:
        outputs = real(path, x)
        landms = outputs["landms"] if isinstance(outputs, dict) else outputs[2]
        landms[0, 0, 0] += value
        return outputs

    old = tmp_path / "mobilenet0.25_64.onnx"
    old.write_text("of an earlier export")
    monkeypatch.setattr(module, broken, wrong)
    with pytest.raises(ParityError, match=r"mobilenet0\.25_64\.[a-z.]+: landms differs .* nothing was written"):
        export_model(spec, (64, 64), weights=weights, output_dir=tmp_path)
    assert list(tmp_path.iterdir()) == [old]
    assert old.read_text() == "of an earlier export"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"opset": 10}, r"opset 10: expected 11\.\.20"),
        ({"opset": 21}, r"opset 21: expected 11\.\.20"),
        ({"batch": 0}, r"batch 0: expected 1\.\.128"),
        ({"batch": 129}, r"batch 129: expected 1\.\.128"),
    ],
)
def test_option_that_cannot_be_used_is_named(
    tmp_path: Path, spec: ModelSpec, weights: Weights, options: dict[str, int], said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        export_model(spec, (64, 64), weights=weights, output_dir=tmp_path, **options)
    assert not list(tmp_path.iterdir())


def test_size_out_of_range_is_named(tmp_path: Path, spec: ModelSpec, weights: Weights) -> None:
    with pytest.raises(ConfigError, match=r"size 16x640: each side must be 32\.\.4096 px"):
        export_model(spec, (16, 640), weights=weights, output_dir=tmp_path)


def test_folder_that_cannot_be_written_is_named(tmp_path: Path, spec: ModelSpec, weights: Weights) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"file: cannot be written .*--output_dir"):
        export_model(spec, (64, 64), weights=weights, output_dir=tmp_path / "file")


def test_outputs_of_different_shapes_are_not_equal(spec: ModelSpec) -> None:
    outputs = [np.zeros((1, 2, width), np.float32) for width in (4, 2, 10)]
    parity = compare([outputs[0][:, :1], *outputs[1:]], outputs)
    assert [output.holds for output in parity] == [False, True, True]
