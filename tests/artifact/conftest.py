"""An artifact whose code and weights are any bytes: opening one never runs it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from facedeploy.artifact.manifest import (
    SCHEMA,
    Argument,
    CompiledFor,
    Kernel,
    KernelCall,
    Manifest,
    PostProcess,
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


@pytest.fixture
def manifest() -> Manifest:
    return Manifest(
        schema=SCHEMA,
        name="net",
        dtype="bf16",
        arithmetic="float32",
        weights=Weights("bfloat16", (64, 1024)),
        inputs=(TensorSpec("input", (2, 3, 64, 96), "float32"),),
        outputs=(
            TensorSpec("loc", (2, 252, 4), "float32"),
            TensorSpec("conf", (2, 252, 2), "float32"),
            TensorSpec("landms", (2, 252, 10), "float32"),
        ),
        normalization=Normalization("BGR", mean=(104.0, 117.0, 123.0)),
        postprocess=PostProcess("retinaface_nms", ("loc", "conf", "landms"), PriorSpec(), NmsParams()),
        target=CompiledFor("x86-64-v3", "x86_64-linux-gnu", ("avx", "avx2"), None),
        source=Source("onnx", "net.onnx", "0" * 64, "net", "1" * 64, {"producer": "pytorch", "weights": "Gewicht ü"}),
        versions=Versions("0.1.0", "0.27.0"),
        input_alignment=64,
        workspace_bytes=4096,
        calls=(
            KernelCall(Kernel("pad"), (Argument("input", 0, (2, 3), "float32"),)),
            KernelCall(
                Kernel("direct3x3_8x32x48_16", ("/body/Conv", "/ssh/Conv"), 1_769_472, "because"),
                (Argument("workspace", 64, (2, 8, 3, 3), "float32"), Argument("outputs", 0, (2, 252, 4), "float32")),
            ),
        ),
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
