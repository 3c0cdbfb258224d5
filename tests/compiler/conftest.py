"""What the tests compile: small ONNX graphs made here, and one RetinaFace with random weights, once a session."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from facedeploy.artifact.store import Artifact
from facedeploy.compiler.build import compile_model
from facedeploy.compiler.target import Target, resolve_target
from facedeploy.config.build_config import (
    Backend,
    BuildConfig,
    Dataset,
    Frontend,
    Graph,
    Workspace,
)
from facedeploy.config.extra_ops import ExtraOps, PriorParams, RetinafaceNms
from facedeploy.config.process_ops import CvtColor, DecodeImage, Normalize, ToTensor
from facedeploy.export.export_model import ExportReport, export_model
from facedeploy.export.random_weights import random_weights
from facedeploy.models.specs import MODELS

NET_SHAPE = (2, 3, 64, 96)
MakeConfig = Callable[..., BuildConfig]
Outputs = dict[str, np.ndarray]

POST = PriorParams(nms_threshold=0.4, confidence_threshold=0.02, anchor=(16, 32, 64, 128, 256, 512), max_detections=20)
PIXELS = Dataset(
    process_ops=(
        DecodeImage("DecodeImage"),
        CvtColor("CvtColor", "COLOR_RGB2BGR"),
        Normalize("Normalize", norm_type="MINUSMEAN_DIVSTD", mean=(104.0, 117.0, 123.0), std=(1.0, 1.0, 1.0)),
        ToTensor("ToTensor"),
    )
)


@pytest.fixture(scope="session")
def target() -> Target:
    return resolve_target("host")


@pytest.fixture(scope="session")
def make_config() -> MakeConfig:
    """A build config of a checkpoint; `post` and `pixels` say what the artifact has beside the model."""

    def make(
        checkpoint: Path | str,
        workspace: Path,
        shape: Sequence[int],
        *,
        kind: str = "onnx",
        input_name: str = "input",
        dtype: str = "fp32",
        target: str = "host",
        post: PriorParams | ExtraOps | None = None,
        pixels: bool = False,
    ) -> BuildConfig:
        op = RetinafaceNms("retinaface_nms", post) if isinstance(post, PriorParams) else post
        return BuildConfig(
            name="net",
            frontend=Frontend(kind, str(checkpoint), {input_name: tuple(shape)}),
            backend=Backend(dtype, target=target),
            workspace=Workspace(str(workspace)),
            graph=Graph(op) if op else None,
            dataset=PIXELS if pixels else None,
        )

    return make


@pytest.fixture(scope="session")
def make_graph() -> Callable[..., onnx.ModelProto]:
    """An ONNX model of nodes with one input, `input`; the shapes of `outputs` are inferred."""

    def make(
        nodes: Sequence[onnx.NodeProto],
        outputs: Sequence[str],
        weights: Mapping[str, np.ndarray],
        shape: Sequence[int | str],
        kind: int = TensorProto.FLOAT,
        output_kind: int = TensorProto.FLOAT,
    ) -> onnx.ModelProto:
        image = helper.make_tensor_value_info("input", kind, list(shape))
        open_shape = helper.make_tensor_type_proto(output_kind, None)
        graph = helper.make_graph(
            list(nodes),
            "graph",
            [image],
            [image if name == "input" else helper.make_value_info(name, open_shape) for name in outputs],
            [numpy_helper.from_array(array, name) for name, array in weights.items()],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        return onnx.shape_inference.infer_shapes(model, strict_mode=True)

    return make


@pytest.fixture(scope="session")
def heads_model(make_graph: Callable[..., onnx.ModelProto]) -> onnx.ModelProto:
    """The smallest net that post-processing takes: a convolution per stride and head, 64x64."""
    rng = np.random.default_rng(0)
    nodes, weights = [], {"shape_loc": np.array([1, -1, 4]), "shape_conf": np.array([1, -1, 2])}
    weights["shape_landms"] = np.array([1, -1, 10])
    for head, values in (("loc", 4), ("conf", 2), ("landms", 10)):
        for stride in (8, 16, 32):
            name = f"{head}_{stride}"
            weights[f"{name}_weight"] = rng.normal(0, 0.1, (2 * values, 3, 3, 3)).astype(np.float32)
            nodes += [
                helper.make_node(
                    "Conv", ["input", f"{name}_weight"], [f"{name}_conv"], strides=[stride] * 2, pads=[0, 0, 0, 0]
                ),
                helper.make_node("Transpose", [f"{name}_conv"], [f"{name}_last"], perm=[0, 2, 3, 1]),
                helper.make_node("Reshape", [f"{name}_last", f"shape_{head}"], [name]),
            ]
        joined = "logits" if head == "conf" else head
        nodes.append(helper.make_node("Concat", [f"{head}_{stride}" for stride in (8, 16, 32)], [joined], axis=1))
    nodes.append(helper.make_node("Softmax", ["logits"], ["conf"], axis=-1))
    return make_graph(nodes, ["loc", "conf", "landms"], weights, (1, 3, 64, 64))


@pytest.fixture
def heads_file(heads_model: onnx.ModelProto, tmp_path: Path) -> Path:
    path = tmp_path / "heads.onnx"
    onnx.save(heads_model, path)
    return path


@pytest.fixture(scope="session")
def run_onnx() -> Callable[[Any, np.ndarray], Outputs]:
    """What onnxruntime computes of a file or a model."""

    def run(model: Path | onnx.ModelProto, image: np.ndarray) -> Outputs:
        source = model.SerializeToString() if isinstance(model, onnx.ModelProto) else str(model)
        session = onnxruntime.InferenceSession(source, providers=["CPUExecutionProvider"])
        names = [output.name for output in session.get_outputs()]
        return dict(zip(names, session.run(names, {session.get_inputs()[0].name: image}), strict=True))

    return run


@pytest.fixture(scope="session")
def check_close() -> Callable[[Outputs, Outputs], None]:
    """The bound that compiled outputs keep: max|a-b| <= 1e-4 max(1, max|b|), for each of them."""

    def check(got: Outputs, expected: Outputs) -> None:
        assert list(got) == list(expected)
        for name, b in expected.items():
            assert got[name].shape == b.shape, name
            assert np.isfinite(b).all(), name
            assert np.abs(got[name] - b).max() <= 1e-4 * max(1.0, np.abs(b).max()), name

    return check


@pytest.fixture(scope="session")
def exported_net(tmp_path_factory: pytest.TempPathFactory) -> ExportReport:
    """mobilenet0.25 with random weights, 64x96, a batch of 2, as both files."""
    spec = MODELS["mobilenet0.25"]
    folder = tmp_path_factory.mktemp("exported")
    return export_model(spec, NET_SHAPE[2:], weights=random_weights(spec, 0), batch=NET_SHAPE[0], output_dir=folder)


@pytest.fixture(scope="session")
def net_config(exported_net: ExportReport, make_config: MakeConfig, tmp_path_factory: pytest.TempPathFactory) -> Any:
    workspace = tmp_path_factory.mktemp("weights")
    return make_config(exported_net.onnx.path, workspace, NET_SHAPE, post=POST, pixels=True)


@pytest.fixture(scope="session")
def net_artifact(net_config: BuildConfig) -> Artifact:
    """The exported net, compiled for this machine with normalization and post-processing."""
    return compile_model(net_config)


@pytest.fixture(scope="session")
def pixels() -> np.ndarray:
    """Canvases for the exported net: u8 noise."""
    batch, channels, height, width = NET_SHAPE
    return np.random.default_rng(1).integers(0, 256, (batch, height, width, channels), dtype=np.uint8)
