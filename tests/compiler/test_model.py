"""mobilenet0.25, compiled whole: float input, pixels, post-processing, manifest."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from facedeploy.artifact.store import Artifact, file_sha256, open_artifact
from facedeploy.compiler.build import compile_model
from facedeploy.compiler.target import Target, host_features
from facedeploy.config.build_config import BuildConfig, Workspace
from facedeploy.core.errors import ArtifactError
from facedeploy.core.nms_params import NmsParams
from facedeploy.core.normalization import Normalization
from facedeploy.core.prior_spec import PriorSpec
from facedeploy.core.tensor_spec import TensorSpec
from facedeploy.detect.slots import head_slots
from facedeploy.export.export_model import ExportReport
from facedeploy.image import operations
from facedeploy.runtime.model import Model

Outputs = dict[str, np.ndarray]
Check = Callable[..., None]


@pytest.fixture(scope="module")
def model(net_artifact: Artifact) -> Model:
    return Model.open(net_artifact.prefix)


@pytest.fixture(scope="module")
def tensor(model: Model, pixels: np.ndarray) -> np.ndarray:
    return np.stack([operations.normalize(canvas, model.manifest.normalization) for canvas in pixels])


@pytest.fixture(scope="module")
def outputs(model: Model, tensor: np.ndarray) -> Outputs:
    return {name: array.copy() for name, array in model.infer(tensor).items()}


def test_outputs_are_those_of_onnxruntime(
    outputs: Outputs, tensor: np.ndarray, exported_net: ExportReport, run_onnx: Check, check_close: Check
) -> None:
    assert [array.shape for array in outputs.values()] == [(2, 252, 4), (2, 252, 2), (2, 252, 10)]
    check_close(outputs, run_onnx(exported_net.onnx.path, tensor))


def test_pixels_give_what_their_floats_give_to_the_bit(model: Model, pixels: np.ndarray, outputs: Outputs) -> None:
    for name, array in model.infer_pixels(pixels).items():
        np.testing.assert_array_equal(array, outputs[name])


def unaligned(array: np.ndarray) -> np.ndarray:
    """A copy whose address is a multiple of 4 bytes and of nothing more."""
    memory = np.empty(array.size + 32, np.float32)
    first = next(index for index in range(32) if (memory.ctypes.data + 4 * index) % 64 == 4)
    copy = memory[first : first + array.size].reshape(array.shape)
    copy[...] = array
    return copy


def read_only(array: np.ndarray) -> np.ndarray:
    copy = array.copy()
    copy.flags.writeable = False
    return copy


@pytest.mark.parametrize("lay_out", [unaligned, read_only, np.asfortranarray, lambda array: array[:, ::-1][:, ::-1]])
def test_input_is_read_wherever_and_however_it_lies(
    model: Model, tensor: np.ndarray, pixels: np.ndarray, outputs: Outputs, lay_out: Callable[..., np.ndarray]
) -> None:
    laid_out = lay_out(tensor)
    for name, array in model.infer(laid_out).items():
        np.testing.assert_array_equal(array, outputs[name])
    np.testing.assert_array_equal(laid_out, tensor)
    odd = np.empty(pixels.size + 1, np.uint8)[1:].reshape(pixels.shape)
    odd[...] = pixels
    for name, array in model.infer_pixels(odd).items():
        np.testing.assert_array_equal(array, outputs[name])


def test_images_of_a_batch_do_not_mix(model: Model, tensor: np.ndarray, outputs: Outputs) -> None:
    swapped = model.infer(tensor[::-1])
    for name, array in outputs.items():
        np.testing.assert_array_equal(swapped[name], array[::-1])
        assert not np.array_equal(array[0], array[1])


def test_post_processing_is_that_of_the_config(model: Model, outputs: Outputs) -> None:
    heads = [outputs[name] for name in ("loc", "conf", "landms")]
    assert model.detect(outputs).scores.shape == (2, 20, 1)
    for params in (NmsParams(0.0, 0.3, 300), NmsParams(0.0, 1.0, 7)):
        slots = model.detect(outputs, params)
        expected = head_slots(*heads, PriorSpec(), (64, 96), params)
        np.testing.assert_array_equal(slots.scores, expected.scores)
        np.testing.assert_allclose(slots.boxes, expected.boxes, rtol=1e-5, atol=1e-3)
        np.testing.assert_allclose(slots.landmarks, expected.landmarks, rtol=1e-5, atol=1e-3)
        assert (slots.scores != -1).any()


def test_torchscript_computes_what_onnx_computes(
    exported_net: ExportReport,
    make_config: Callable[..., BuildConfig],
    net_config: BuildConfig,
    tensor: np.ndarray,
    outputs: Outputs,
    check_close: Check,
    tmp_path: Path,
) -> None:
    checkpoint, shape = exported_net.torchscript.path, net_config.frontend.shape_nchw
    artifact = compile_model(make_config(checkpoint, tmp_path, shape, kind="torchscript", input_name="image"))
    assert artifact.manifest.source.type == "torchscript"
    assert artifact.manifest.base.input == TensorSpec("image", shape, "float32")
    opened = Model.open(artifact.prefix)
    check_close(opened.infer(tensor), outputs)
    with pytest.raises(ArtifactError, match=r"without graph\.extra_ops"):
        opened.detect(outputs)
    with pytest.raises(ArtifactError, match=r"without dataset\.process_ops"):
        opened.infer_pixels(np.zeros((2, 64, 96, 3), np.uint8))


def test_manifest_tells_what_was_compiled(
    net_artifact: Artifact, net_config: BuildConfig, exported_net: ExportReport, target: Target
) -> None:
    manifest = net_artifact.manifest
    assert manifest == open_artifact(net_artifact.prefix).manifest
    assert (manifest.name, manifest.dtype, manifest.base.batch, manifest.base.canvas_hw) == ("net", "fp32", 2, (64, 96))
    assert manifest.base.input == TensorSpec("input", (2, 3, 64, 96), "float32")
    assert [str(spec) for spec in manifest.base.outputs] == [
        "loc float32[2,252,4]",
        "conf float32[2,252,2]",
        "landms float32[2,252,10]",
    ]
    assert manifest.normalization == Normalization("BGR", (104.0, 117.0, 123.0))
    assert manifest.postprocess is not None
    assert manifest.postprocess.inputs == ("loc", "conf", "landms")
    assert manifest.postprocess.head == PriorSpec()
    assert manifest.postprocess.nms == NmsParams(0.02, 0.4, 20)
    assert manifest.source.sha256 == file_sha256(exported_net.onnx.path)
    assert manifest.source.file == exported_net.onnx.path.name
    assert manifest.source.metadata["facedeploy.model"] == "mobilenet0.25"
    assert manifest.target.features == target.features
    assert manifest.target.threads is None


def test_artifact_is_three_files_that_name_no_folder_of_this_machine(
    net_artifact: Artifact, exported_net: ExportReport, repository: Path
) -> None:
    files = sorted(path.name for path in net_artifact.prefix.parent.iterdir())
    assert files == ["mod.json", "mod.params", "mod.so"]
    for name in files:
        content = (net_artifact.prefix.parent / name).read_bytes()
        for folder in (repository, exported_net.onnx.path.parent, net_artifact.prefix.parent):
            assert str(folder).encode() not in content, name


def test_weights_are_in_params_once_and_not_in_the_code(net_artifact: Artifact, exported_net: ExportReport) -> None:
    onnx_size = exported_net.onnx.path.stat().st_size
    # 3x3 kernels are kept as Winograd's transform has them, 36 numbers for 9.
    assert onnx_size * 0.9 < net_artifact.params.stat().st_size < 3 * onnx_size
    assert net_artifact.code.stat().st_size < onnx_size


COMPILE = """
import sys
from pathlib import Path
from facedeploy.compiler.build import compile_model
from facedeploy.config.load import load_build_config
compile_model(load_build_config(Path(sys.argv[1])))
"""


def test_same_config_gives_the_same_bytes_in_another_process(
    heads_file: Path, tmp_path: Path, make_config: Callable[..., BuildConfig]
) -> None:
    first = compile_model(make_config(heads_file, tmp_path / "first", (1, 3, 64, 64)))
    (tmp_path / "second.yaml").write_text(
        f"name: net\n"
        f"frontend: {{type: onnx, checkpoint: {heads_file}, shape: {{input: [1, 3, 64, 64]}}}}\n"
        f"backend: {{dtype: fp32}}\n"
        f"workspace: {{path: {tmp_path / 'second'}}}\n"
    )
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    subprocess.run(
        [sys.executable, "-c", COMPILE, str(tmp_path / "second.yaml")],
        cwd=elsewhere,
        env={**os.environ, "PYTHONHASHSEED": "7"},
        check=True,
    )
    second = open_artifact(tmp_path / "second" / "net")
    for name in ("mod.so", "mod.params"):
        digests = [
            hashlib.sha256(artifact.prefix.with_name(name).read_bytes()).digest() for artifact in (first, second)
        ]
        assert digests[0] == digests[1], name


def test_compiling_again_replaces_the_artifact(
    heads_file: Path, tmp_path: Path, make_config: Callable[..., BuildConfig]
) -> None:
    config = make_config(heads_file, tmp_path / "weights", (1, 3, 64, 64))
    first = compile_model(config)
    older = compile_model(replace(config, backend=replace(config.backend, target="x86-64-v2")))
    assert older.prefix == first.prefix
    assert open_artifact(first.prefix).manifest == older.manifest
    assert older.manifest.files["mod.params"] == first.manifest.files["mod.params"]
    assert older.manifest.files["mod.so"] != first.manifest.files["mod.so"]
    image = np.random.default_rng(0).normal(0, 50, (1, 3, 64, 64)).astype(np.float32)
    again = compile_model(replace(config, workspace=Workspace(str(tmp_path / "other"))))
    assert again.manifest.files == first.manifest.files
    a, b = Model.open(again.prefix).infer(image), Model.open(older.prefix).infer(image)
    for name in a:
        np.testing.assert_allclose(a[name], b[name], rtol=1e-4, atol=1e-4)


def test_artifact_for_v3_holds_no_avx512(
    heads_file: Path, tmp_path: Path, make_config: Callable[..., BuildConfig]
) -> None:
    artifact = compile_model(make_config(heads_file, tmp_path, (1, 3, 64, 64), target="x86-64-v3"))
    compiled_for = artifact.manifest.target
    assert compiled_for.name == "x86-64-v3"
    assert "avx2" in compiled_for.features
    assert "fma" in compiled_for.features
    assert not [feature for feature in compiled_for.features if feature.startswith("avx512")]
    assert set(compiled_for.features) <= set(host_features())
    disassembler = subprocess.run(["objdump", "-d", str(artifact.code)], capture_output=True, text=True, check=False)
    if disassembler.returncode == 0:
        assert "%ymm" in disassembler.stdout
        assert "%zmm" not in disassembler.stdout
