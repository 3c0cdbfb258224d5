"""An artifact whose code and weights are any bytes: opening one never runs it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from facedeploy.artifact.manifest import (
    SCHEMA,
    Argument,
    CompiledFor,
    IntegerInput,
    Kernel,
    KernelCall,
    Manifest,
    PostProcess,
    Rung,
    Source,
    Versions,
    Weights,
)
from facedeploy.artifact.store import CODE, PARAMS, Artifact, save_artifact
from facedeploy.core.nms_params import NmsParams
from facedeploy.core.normalization import Normalization
from facedeploy.core.prior_spec import PriorSpec
from facedeploy.core.tensor_spec import TensorSpec

CONTENT = {CODE: b"\x7fELF and so on" * 100, PARAMS: bytes(range(256)) * 40}


def rung(suffix: str, shape: tuple[int, ...]) -> Rung:
    batch, _, height, width = shape
    priors = height * width * 21 // 512
    output = Argument("outputs", 0, (batch, priors, 4), "float32")
    return Rung(
        suffix,
        TensorSpec("input", shape, "float32"),
        outputs=(
            TensorSpec("loc", (batch, priors, 4), "float32"),
            TensorSpec("conf", (batch, priors, 2), "float32"),
            TensorSpec("landms", (batch, priors, 10), "float32"),
        ),
        input_alignment=64,
        workspace_bytes=4096,
        calls=(
            KernelCall(Kernel("pad" + suffix), (Argument("input", 0, (2, 3), "float32"),)),
            KernelCall(
                Kernel("direct3x3_8x32x48_16" + suffix, ("/body/Conv", "/ssh/Conv"), 1_769_472, "because"),
                (Argument("workspace", 64, (2, 8, 3, 3), "float32"), output),
            ),
        ),
        integers=IntegerInput(
            TensorSpec("integers" + suffix, (batch, 1, height + 2, width + 2, 4), "uint8"), "letterbox_integers"
        ),
    )


@pytest.fixture
def manifest() -> Manifest:
    return Manifest(
        schema=SCHEMA,
        name="net",
        dtype="bf16",
        arithmetic="float32",
        weights=Weights("bfloat16", (64, 1024)),
        normalization=Normalization("BGR", mean=(104.0, 117.0, 123.0)),
        postprocess=PostProcess(("loc", "conf", "landms"), PriorSpec(), NmsParams()),
        target=CompiledFor("x86-64-v3", "x86_64-linux-gnu", ("avx", "avx2"), None),
        source=Source("onnx", "net.onnx", "0" * 64, "net", "1" * 64, {"producer": "pytorch", "weights": "Gewicht ü"}),
        versions=Versions("0.1.0", "0.27.0"),
        ladder=(rung("", (2, 3, 64, 96)), rung("_1x3x32x64", (1, 3, 32, 64))),
        files={},
    )


@pytest.fixture
def save(manifest: Manifest) -> Callable[..., Artifact]:
    def run(folder: Path, content: dict[str, bytes] = CONTENT) -> Artifact:
        return save_artifact(
            folder, manifest, {name: lambda path, data=data: path.write_bytes(data) for name, data in content.items()}
        )

    return run


@pytest.fixture
def artifact(save: Callable[..., Artifact], tmp_path: Path) -> Artifact:
    return save(tmp_path / "deploy_weights" / "net")
