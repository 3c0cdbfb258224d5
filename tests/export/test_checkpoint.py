import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from facedeploy.artifact.named import DETECTORS, shipped_config
from facedeploy.config.shipped import find_config
from facedeploy.core.errors import CheckpointError
from facedeploy.export.checkpoint import load_checkpoint
from facedeploy.export.known_checkpoints import KNOWN_CHECKPOINTS
from facedeploy.export.random_weights import random_weights
from facedeploy.export.weights import Weights
from facedeploy.models.specs import MODELS, ModelSpec

State = dict[str, Tensor]


@pytest.fixture
def state(weights: Weights) -> State:
    return dict(weights.state)


def saved(tmp_path: Path, content: object) -> Path:
    torch.save(content, tmp_path / "net.pth")
    return tmp_path / "net.pth"


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {f"module.{name}": value for name, value in state.items()},
        lambda state: {"epoch": 250, "state_dict": state},
        lambda state: {"state_dict": {f"module.{name}": value for name, value in state.items()}, "lr": 0.1},
        lambda state: {name: value for name, value in state.items() if "num_batches_tracked" not in name},
    ],
    ids=["bare", "module", "nested", "nested module", "without counters"],
)
def test_checkpoint_loads_in_every_published_form(
    tmp_path: Path, spec: ModelSpec, state: State, wrap: Callable[[State], object]
) -> None:
    loaded = load_checkpoint(saved(tmp_path, wrap(state)), spec)
    assert list(loaded.state) == list(state)
    assert all(torch.equal(loaded.state[name], value) for name, value in state.items())


def test_checkpoint_in_half_precision_becomes_float32(tmp_path: Path, spec: ModelSpec, state: State) -> None:
    halved = {name: value.half() if value.is_floating_point() else value for name, value in state.items()}
    loaded = load_checkpoint(saved(tmp_path, halved), spec)
    assert {value.dtype for value in loaded.state.values()} == {torch.float32, torch.int64}


def test_unknown_checkpoint_is_said_to_be_unknown(tmp_path: Path, spec: ModelSpec, state: State) -> None:
    loaded = load_checkpoint(saved(tmp_path, state), spec)
    assert "unknown" in loaded.source
    (note,) = loaded.notes
    assert str(loaded.sha256) in note
    assert "do not identify a net" in note


def test_missing_unexpected_and_reshaped_entries_are_named(tmp_path: Path, spec: ModelSpec, state: State) -> None:
    del state["fpn.output1.0.weight"]
    state["head.weight"] = torch.zeros(1)
    state["ClassHead.0.conv1x1.bias"] = torch.zeros(6)
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(saved(tmp_path, state), spec)
    text = str(caught.value)
    assert text.startswith(str(tmp_path / "net.pth"))
    assert "1 missing (fpn.output1.0.weight)" in text
    assert "1 unexpected (head.weight)" in text
    assert "ClassHead.0.conv1x1.bias is [6], expected [4]" in text
    assert "\n" not in text


def test_checkpoint_of_another_model_names_that_model(tmp_path: Path, state: State) -> None:
    with pytest.raises(
        CheckpointError, match=r"those of --model_name mobilenet0\.25 or mobilenet0\.25_relu or mobilenet0\.25_FD1MB$"
    ):
        load_checkpoint(saved(tmp_path, state), MODELS["Resnet50"])


@pytest.mark.parametrize(("name", "other"), [("slim", "RFB"), ("RFB", "slim"), ("lightDSFD", "slim")])
def test_retrained_checkpoint_of_another_net_names_that_net(tmp_path: Path, name: str, other: str) -> None:
    path = saved(tmp_path, dict(random_weights(MODELS[name], 1).state))
    assert "unknown" in load_checkpoint(path, MODELS[name]).source
    with pytest.raises(CheckpointError, match=rf"does not fit {other}: [^\n]*those of --model_name {name}$"):
        load_checkpoint(path, MODELS[other])


def test_resnet50_checkpoint_loads(tmp_path: Path) -> None:
    spec = MODELS["Resnet50"]
    state = {f"module.{name}": value.half() for name, value in random_weights(spec, 1).state.items()}
    path = saved(tmp_path, state)
    assert len(load_checkpoint(path, spec).state) == len(state)
    with pytest.raises(CheckpointError, match="those of --model_name Resnet50"):
        load_checkpoint(path, MODELS["mobilenet0.25"])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ([1, 2], "holds a list"),
        (torch.zeros(3), "holds a Tensor"),
        ({}, "no weights at all"),
        ({"epoch": 3}, "the entry 'epoch' is a int"),
        ({"state_dict": None}, "holds a NoneType"),
        ({1: torch.zeros(1)}, "the entry 1 is a Tensor"),
        ({"a": torch.zeros(1), "module.a": torch.zeros(1)}, "both a and module.a"),
        (nn.Linear(1, 1), "is not plain weights"),
        (np.zeros(3), "is not plain weights"),
    ],
)
def test_pickle_that_is_not_weights_is_refused(tmp_path: Path, spec: ModelSpec, content: object, said: str) -> None:
    with pytest.raises(CheckpointError, match=said) as caught:
        load_checkpoint(saved(tmp_path, content), spec)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"<html>404</html>", b"\x80", b"PK\x03\x04 truncated", bytes(range(256)) * 9])
def test_file_that_is_no_pickle_is_refused(tmp_path: Path, spec: ModelSpec, content: bytes) -> None:
    path = tmp_path / "net.pth"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="is not plain weights"):
        load_checkpoint(path, spec)


def test_truncated_checkpoint_is_refused(tmp_path: Path, spec: ModelSpec, state: State) -> None:
    path = saved(tmp_path, state)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(CheckpointError, match="is not plain weights"):
        load_checkpoint(path, spec)


def test_torchscript_file_is_refused(tmp_path: Path, spec: ModelSpec) -> None:
    path = tmp_path / "net.pt"
    torch.jit.save(torch.jit.script(nn.Linear(1, 1)), path)
    with pytest.raises(CheckpointError, match="is not plain weights"):
        load_checkpoint(path, spec)


def test_file_that_cannot_be_read_is_named(tmp_path: Path, spec: ModelSpec) -> None:
    (tmp_path / "empty.pth").touch()
    for path, said in (
        (tmp_path, "directory"),
        (tmp_path / "none.pth", "No such file"),
        (tmp_path / "empty.pth", "empty"),
    ):
        with pytest.raises(CheckpointError, match=said) as caught:
            load_checkpoint(path, spec)
        assert str(path) in str(caught.value)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_named(tmp_path: Path, spec: ModelSpec, state: State, value: float) -> None:
    state["fpn.merge1.1.bias"] = torch.full_like(state["fpn.merge1.1.bias"], value)
    with pytest.raises(CheckpointError, match=r"fpn\.merge1\.1\.bias: expected finite"):
        load_checkpoint(saved(tmp_path, state), spec)


def test_code_in_a_pickle_never_runs(tmp_path: Path, spec: ModelSpec) -> None:
    class Payload:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return Path.touch, (Path(tmp_path / "ran"),)  # type: ignore[return-value]

    with pytest.raises(CheckpointError, match="is not plain weights"):
        load_checkpoint(saved(tmp_path, {"a": Payload()}), spec)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("file", "name", "title"),
    [
        ("mobilenet0.25_Final.pth", "mobilenet0.25", "the official mobilenet0.25"),
        ("mobilenet0.25_relu_2019-09.pth", "mobilenet0.25_relu", "the first release"),
        ("mobilenet0.25_FD1MB_Final.pth", "mobilenet0.25_FD1MB", "the RetinaFace mobilenet0.25 of Face-Detector-1MB"),
        ("slim_Final.pth", "slim", "the slim net"),
        ("RFB_Final.pth", "RFB", "the RFB net"),
        ("light_DSFD.pth", "lightDSFD", "lightDSFD"),
    ],
)
def test_known_checkpoint_is_named(shared_data: Path, file: str, name: str, title: str) -> None:
    loaded = load_checkpoint(shared_data / "weights" / file, MODELS[name])
    assert title in loaded.source
    assert loaded.notes == ()


@pytest.mark.parametrize(
    ("file", "name", "said"),
    [
        ("mobilenet0.25_relu_2019-09.pth", "mobilenet0.25", "use --model_name mobilenet0.25_relu$"),
        ("mobilenet0.25_Final.pth", "mobilenet0.25_relu", "use --model_name mobilenet0.25$"),
        ("mobilenet0.25_Final.pth", "Resnet50", "use --model_name mobilenet0.25$"),
        ("mobilenet0.25_FD1MB_Final.pth", "mobilenet0.25", "not mobilenet0.25: use --model_name mobilenet0.25_FD1MB$"),
        ("slim_Final.pth", "RFB", "this is the slim net .*, not RFB: use --model_name slim$"),
        ("RFB_Final.pth", "slim", "this is the RFB net .*, not slim: use --model_name RFB$"),
        ("light_DSFD.pth", "DSFD", "this is lightDSFD, not DSFD: use --model_name lightDSFD$"),
        ("mxnet/mnet.25-0000.params", "mobilenet0.25", "use `facedeploy compile build_in/build/insightface_mnet.25_fp"),
        (
            "yunet_n_640_640.ShiqiYu.onnx",
            "slim",
            "this is YuNet .*, not slim: use `facedeploy compile .*yunet_fp32",
        ),
    ],
)
def test_known_checkpoint_of_another_net_is_refused(shared_data: Path, file: str, name: str, said: str) -> None:
    with pytest.raises(CheckpointError, match=said):
        load_checkpoint(shared_data / "weights" / file, MODELS[name])


def test_known_checkpoints_are_of_detectors_that_exist() -> None:
    for sha256, known in KNOWN_CHECKPOINTS.items():
        assert len(bytes.fromhex(sha256)) == 32
        assert known.model in DETECTORS
        if known.model not in MODELS:  # The error that names the config.
            assert find_config(f"build_in/build/{known.model}_fp32.yaml") == find_config(shipped_config(known.model))


@pytest.mark.parametrize(
    ("file", "model"),
    [
        ("mxnet/mnet.25-0000.params", "insightface_mnet.25"),
        ("caffe/mnet25.caffemodel", "insightface_mnet25_caffe"),
        ("caffe/mnet-deconv-0517.caffemodel", "insightface_mnet25_caffe"),
        ("mxnet/16-0000.params", "faster_mobile_16"),
        ("mxnet/16and32-0000.params", "faster_mobile_16and32"),
        ("mxnet/8and16-0000.params", "faster_mobile_8and16"),
        ("mxnet/lffd/train_10_160_17L_4scales_v1_iter_800000.params", "lffd_head"),
        ("mxnet/lffd/train_64_512_16L_3scales_v1_iter_1000000.params", "lffd_plate"),
        ("mxnet/lffd/train_64_512_16L_3scales_v1_small_iter_1000000.params", "lffd_plate"),
        ("yunet_n_640_640.ShiqiYu.onnx", "yunet"),
    ],
)
def test_weights_of_other_frameworks_are_known(shared_data: Path, file: str, model: str) -> None:
    digest = hashlib.sha256((shared_data / "weights" / file).read_bytes()).hexdigest()
    assert KNOWN_CHECKPOINTS[digest].model == model
