"""fp16 and bf16: a model whose weights are rounded to that, computed in float32."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import helper, numpy_helper

from facedeploy.artifact.manifest import Argument, Weights
from facedeploy.artifact.store import Artifact, open_artifact
from facedeploy.compiler import half_precision
from facedeploy.compiler.build import compile_model
from facedeploy.compiler.half_precision import speed_note
from facedeploy.compiler.target import Target, resolve_target
from facedeploy.config.build_config import BuildConfig, Workspace
from facedeploy.core.errors import CompileError
from facedeploy.export.export_model import ExportReport
from facedeploy.runtime.model import Model
from facedeploy.runtime.parameters import read_parameters

TORCH = {"fp16": torch.float16, "bf16": torch.bfloat16}
DTYPES = list(TORCH)
MakeConfig = Callable[..., BuildConfig]
MakeGraph = Callable[..., onnx.ModelProto]


def rounded(numbers: np.ndarray, dtype: str) -> np.ndarray:
    return torch.from_numpy(numbers.copy()).to(TORCH[dtype]).float().numpy()


def rounded_onnx(model: onnx.ModelProto, dtype: str) -> onnx.ModelProto:
    """The model with every float weight rounded by torch."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for initializer in copy.graph.initializer:
        array = numpy_helper.to_array(initializer)
        if array.dtype == np.float32:
            initializer.CopyFrom(numpy_helper.from_array(rounded(array, dtype), initializer.name))
    return copy


def parameters_of(artifact: Artifact) -> dict[int, tuple[Argument, np.ndarray]]:
    """By offset: the place and the numbers of each parameter, as kernels read them."""
    memory = read_parameters(artifact)
    found = {at for call in artifact.manifest.base.calls for at in call.arguments if at.region == "parameters"}
    return {at.offset: (at, np.ndarray(at.shape, at.dtype, memory, at.offset)) for at in found}


def half_of(config: BuildConfig, dtype: str, folder: Path) -> BuildConfig:
    return replace(config, backend=replace(config.backend, dtype=dtype), workspace=Workspace(str(folder)))


@pytest.fixture(scope="module", params=DTYPES)
def half_net(
    request: pytest.FixtureRequest, net_config: BuildConfig, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Artifact]:
    """The exported net in either precision."""
    dtype = str(request.param)
    return dtype, compile_model(half_of(net_config, dtype, tmp_path_factory.mktemp(dtype)))


def test_parameters_are_those_of_fp32_rounded(half_net: tuple[str, Artifact], net_artifact: Artifact) -> None:
    dtype, artifact = half_net
    got, full = parameters_of(artifact), parameters_of(net_artifact)
    assert {offset: at for offset, (at, _) in got.items()} == {offset: at for offset, (at, _) in full.items()}
    manifest = artifact.manifest
    transformed = {at.offset for at, _ in full.values() if at.shape[0] == 36}
    assert set(manifest.weights.winograd) == transformed
    assert len(transformed) > 3
    for offset, (_, numbers) in full.items():
        if offset not in transformed:
            np.testing.assert_array_equal(got[offset][1], rounded(numbers, dtype))


def test_outputs_are_those_of_rounded_weights(
    half_net: tuple[str, Artifact], exported_net: ExportReport, run_onnx: Any, pixels: np.ndarray
) -> None:
    dtype, artifact = half_net
    image = pixels.transpose(0, 3, 1, 2).astype(np.float32) - 110
    got = Model.open(artifact.prefix).infer(image)
    original = onnx.load(exported_net.onnx.path)
    expected, unrounded = run_onnx(rounded_onnx(original, dtype), image), run_onnx(original, image)
    # The two rows of conf's weights become one, their difference, before rounding: there nearly the same is expected.
    for name, within in (("loc", 1e-5), ("landms", 1e-5), ("conf", 3e-3)):
        bound = within * max(1.0, np.abs(expected[name]).max())
        assert np.abs(got[name] - expected[name]).max() <= bound, name
        if name != "conf":
            assert np.abs(unrounded[name] - expected[name]).max() > 2 * bound, "rounding is no more than noise here"


def test_file_is_less_than_half(half_net: tuple[str, Artifact], net_artifact: Artifact) -> None:
    artifact = half_net[1]
    numbers = 0
    for at, _ in parameters_of(net_artifact).values():
        numbers += prod(at.shape) // (4 if at.offset in artifact.manifest.weights.winograd else 1)
    size = artifact.params.stat().st_size
    assert 2 * numbers <= size <= 2 * numbers + 64 * len(parameters_of(artifact))
    assert size < net_artifact.params.stat().st_size / 2
    manifests = [opened.prefix.with_suffix(".json").stat().st_size for opened in (artifact, net_artifact)]
    assert manifests[0] < manifests[1] + 1000


def test_manifest_tells_how_it_computes_and_stores(half_net: tuple[str, Artifact], net_artifact: Artifact) -> None:
    dtype, artifact = half_net
    manifest, full = open_artifact(artifact.prefix).manifest, net_artifact.manifest
    stored = {"fp16": "float16", "bf16": "bfloat16"}[dtype]
    assert (manifest.dtype, manifest.arithmetic, manifest.weights.dtype) == (dtype, "float32", stored)
    assert (full.dtype, full.arithmetic, full.weights) == ("fp32", "float32", Weights())
    assert str(manifest.weights) == f"float weights stored as {stored}"
    assert manifest.ladder == full.ladder
    assert manifest.files["mod.so"] == full.files["mod.so"], "the code is that of fp32"


def test_pixels_entry_and_instances_share_the_weights(half_net: tuple[str, Artifact], pixels: np.ndarray) -> None:
    first, second = Model.open_instances(half_net[1].prefix, 2)
    mean = np.array(first.manifest.normalization.mean, np.float32) if first.manifest.normalization else 0
    image = np.ascontiguousarray((pixels.astype(np.float32) - mean).transpose(0, 3, 1, 2))
    for name, array in first.infer_pixels(pixels).items():
        np.testing.assert_array_equal(second.infer(image)[name], array)


def conv_net(make_graph: MakeGraph, weights: np.ndarray, bias: np.ndarray) -> onnx.ModelProto:
    """3 -> 16 channels, and a layer of these weights."""
    first = np.random.default_rng(0).normal(0, 0.2, (16, 3, 1, 1)).astype(np.float32)
    side = weights.shape[-1] // 2
    nodes = [
        helper.make_node("Conv", ["input", "first"], ["middle"], name="/first/Conv"),
        helper.make_node("Conv", ["middle", "weights", "bias"], ["output"], name="/last/Conv", pads=[side] * 4),
    ]
    return make_graph(nodes, ["output"], {"first": first, "weights": weights, "bias": bias}, (1, 3, 16, 16))


@pytest.fixture
def compile_layer(make_graph: MakeGraph, make_config: MakeConfig, tmp_path: Path) -> Callable[..., Artifact]:
    def run(dtype: str, kernel: int, weight: float = 0.5, bias: float = 0.5) -> Artifact:
        random = np.random.default_rng(1)
        weights = random.normal(0, 0.2, (16, 16, kernel, kernel)).astype(np.float32)
        biases = random.normal(0, 0.2, 16).astype(np.float32)
        weights[3, 4, kernel // 2, kernel // 2], biases[5] = weight, bias
        onnx.save(conv_net(make_graph, weights, biases), tmp_path / "net.onnx")
        config = make_config(tmp_path / "net.onnx", tmp_path / "weights", (1, 3, 16, 16), dtype=dtype)
        return compile_model(config)

    return run


@pytest.mark.parametrize(
    ("dtype", "kernel", "weight", "bias", "said"),
    [
        ("fp16", 1, -7e4, 0, "a weight of 70000, which float16 cannot hold: --set backend.dtype=bf16 or --set "),
        ("fp16", 3, 7e4, 0, "which float16 cannot hold: --set backend.dtype=bf16 or --set backend.dtype=fp32"),
        ("fp16", 1, 0, 65520, "a weight of 65520, which float16 cannot hold"),
        ("bf16", 1, 3.4e38, 0, "a weight of 3.4e+38, which bfloat16 cannot hold: --set backend.dtype=fp32"),
    ],
)
def test_weight_past_the_range_is_one_sentence(
    compile_layer: Callable[..., Artifact], tmp_path: Path, dtype: str, kernel: int, weight: float, bias: float, said
) -> None:
    with pytest.raises(CompileError) as caught:
        compile_layer(dtype, kernel, weight, bias)
    message = str(caught.value)
    assert message.startswith(f"backend.dtype: got {dtype}, and /last/Conv has a weight of ")
    assert said in message
    assert "\n" not in message
    assert not list((tmp_path / "weights").rglob("*.*"))


@pytest.mark.parametrize(("dtype", "kernel", "weight"), [("fp16", 1, 65519), ("fp16", 3, 6e4), ("bf16", 3, 7e4)])
def test_weight_within_the_range_is_kept(
    compile_layer: Callable[..., Artifact], run_onnx: Any, tmp_path: Path, dtype: str, kernel: int, weight: float
) -> None:
    model = Model.open(compile_layer(dtype, kernel, weight, 1e-7).prefix)
    assert bool(model.manifest.weights.winograd) == (kernel == 3)
    image = np.random.default_rng(2).normal(0, 1, (1, 3, 16, 16)).astype(np.float32)
    (got,) = model.infer(image).values()
    (expected,) = run_onnx(rounded_onnx(onnx.load(tmp_path / "net.onnx"), dtype), image).values()
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("dtype", DTYPES)
def test_integers_of_a_model_and_their_scales_stay_as_they_are(
    dtype: str, make_graph: MakeGraph, make_config: MakeConfig, tmp_path: Path
) -> None:
    random = np.random.default_rng(3)
    weights = {
        "scale": np.float32(0.02),
        "zero": np.uint8(128),
        "weight": random.integers(-127, 128, (16, 3, 3, 3)).astype(np.int8),
        "weight_scale": random.uniform(1e-8, 1e-7, 16).astype(np.float32),  # Less than float16 can tell from 0.
        "weight_zero": np.zeros(16, np.int8),
        "float": random.normal(0, 1, (16, 16, 1, 1)).astype(np.float32),
    }
    nodes = [
        helper.make_node("QuantizeLinear", ["input", "scale", "zero"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["x"]),
        helper.make_node("DequantizeLinear", ["weight", "weight_scale", "weight_zero"], ["w"], axis=0),
        helper.make_node("Conv", ["x", "w"], ["y"], pads=[1] * 4),
        helper.make_node("Conv", ["y", "float"], ["output"]),
    ]
    onnx.save(make_graph(nodes, ["output"], weights, (1, 3, 16, 16)), tmp_path / "net.onnx")
    config = make_config(tmp_path / "net.onnx", tmp_path / "weights", (1, 3, 16, 16))
    full = compile_model(config)
    half = compile_model(half_of(config, dtype, tmp_path / dtype))
    assert full.manifest.arithmetic == half.manifest.arithmetic
    assert full.manifest.arithmetic.startswith("int8 by ")
    expected, got = parameters_of(full), parameters_of(half)
    same = {at for at, numbers in expected.values() if np.array_equal(got[at.offset][1], numbers)}
    weights = {at for at, _ in expected.values() if at.dtype == "float32" and at.shape[-2:] == (16, 16)}
    assert {at.dtype for at in same} >= {"int8", "float32"}
    assert same == {at for at, _ in expected.values()} - weights
    ((at, numbers),) = (expected[at.offset] for at in weights)
    np.testing.assert_array_equal(got[at.offset][1], rounded(numbers, dtype))


@pytest.mark.parametrize(
    ("dtype", "has", "said"),
    [
        ("fp16", (), "since this CPU lacks AMX-FP16 and AVX512-FP16; weights are stored as float16 and"),
        ("fp16", ("amx-bf16", "avx512bf16"), "since this CPU lacks AMX-FP16 and AVX512-FP16;"),
        ("fp16", ("amx-fp16",), "since this CPU has AMX-FP16, for which this version has no kernels yet;"),
        ("fp16", ("amx-fp16", "avx512fp16"), "has AMX-FP16 and AVX512-FP16, for which this version has no kernels yet"),
        ("bf16", ("avx512bf16", "amx-fp16"), "since this CPU lacks AMX-BF16; weights are stored as bfloat16 and"),
        ("bf16", ("amx-bf16",), "since this CPU has AMX-BF16, for which this version has no kernels yet;"),
    ],
)
def test_note_says_why_it_is_not_faster_on_this_cpu(
    monkeypatch: pytest.MonkeyPatch, target: Target, dtype: str, has: Sequence[str], said: str
) -> None:
    known = {"amx-fp16", "amx-bf16", "avx512fp16", "avx512bf16"}
    monkeypatch.setattr(half_precision, "host_features", lambda: {name: name in has for name in known})
    note = speed_note(dtype, "host", target)
    assert note.startswith(f"backend.dtype {dtype}: not faster than fp32, ")
    assert said in note
    assert note.endswith("and computed with in float32")
    assert "\n" not in note


def test_note_is_about_the_target_that_the_config_names() -> None:
    older, newer = resolve_target("x86-64-v3"), resolve_target('{"kind": "llvm", "mcpu": "graniterapids"}')
    assert "x86-64-v3 lacks AMX-FP16 and AVX512-FP16" in speed_note("fp16", "x86-64-v3", older)
    assert "has AMX-FP16 and AVX512-FP16, for which" in speed_note("fp16", newer.name, newer)
    assert "has AMX-BF16, for which" in speed_note("bf16", newer.name, newer)


def test_note_is_told_once_and_only_for_half_precision(
    heads_file: Path, make_config: MakeConfig, tmp_path: Path
) -> None:
    digests = {}
    for dtype in ("fp32", *DTYPES, "fp16"):
        notes: list[str] = []
        artifact = compile_model(make_config(heads_file, tmp_path / dtype, (1, 3, 64, 64), dtype=dtype), notes.append)
        assert [note.split(":")[0] for note in notes] == ([] if dtype == "fp32" else [f"backend.dtype {dtype}"])
        digest = hashlib.sha256(artifact.params.read_bytes()).digest()
        assert digests.setdefault(dtype, digest) == digest, "the same config gives the same bytes"
    assert len(set(digests.values())) == 3
