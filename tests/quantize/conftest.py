"""Small ONNX graphs, and onnxruntime to run them: without graph optimizations, so that QDQ is computed as written.

With them it takes integer kernels, and those of CPUs without VNNI may saturate.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="quantization rewrites ONNX graphs")
onnxruntime = pytest.importorskip("onnxruntime", reason="quantization runs ONNX graphs")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

Outputs = dict[str, np.ndarray]


@pytest.fixture(scope="session")
def make_graph() -> Callable[..., onnx.ModelProto]:
    """An ONNX model of nodes with one input, `input`, of NCHW `shape`."""

    def make(
        nodes: Sequence[onnx.NodeProto],
        outputs: Sequence[str],
        weights: Mapping[str, np.ndarray],
        shape: Sequence[int],
        opset: int = 17,
    ) -> onnx.ModelProto:
        graph = helper.make_graph(
            list(nodes),
            "graph",
            [helper.make_tensor_value_info("input", TensorProto.FLOAT, list(shape))],
            [helper.make_value_info(name, helper.make_tensor_type_proto(TensorProto.FLOAT, None)) for name in outputs],
            [numpy_helper.from_array(np.asarray(array), name) for name, array in weights.items()],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
        return onnx.shape_inference.infer_shapes(model, strict_mode=True)

    return make


@pytest.fixture(scope="session")
def run() -> Callable[..., Outputs]:
    """What onnxruntime computes of a model; also of the tensors in `also`. With `optimized` in its integer kernels."""

    def compute(
        model: onnx.ModelProto, image: np.ndarray, also: Sequence[str] = (), *, optimized: bool = False
    ) -> Outputs:
        watched = onnx.ModelProto()
        watched.CopyFrom(model)
        watched.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in also)
        options = onnxruntime.SessionOptions()
        levels = onnxruntime.GraphOptimizationLevel
        options.graph_optimization_level = levels.ORT_ENABLE_ALL if optimized else levels.ORT_DISABLE_ALL
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(watched.SerializeToString(), options, providers=["CPUExecutionProvider"])
        names = [output.name for output in session.get_outputs()]
        return dict(zip(names, session.run(names, {"input": image}), strict=True))

    return compute


@pytest.fixture(scope="session")
def constants() -> Callable[[onnx.ModelProto], dict[str, np.ndarray]]:
    return lambda model: {entry.name: numpy_helper.to_array(entry) for entry in model.graph.initializer}


def random_convolution(
    name: str, source: str, weights: dict, out: int, inside: int, rng: np.random.Generator, **options
):
    """A node of random weights, whose output channels differ widely in size; adds the weights to `weights`."""
    kernel = options.pop("kernel", 3)
    groups = options.get("group", 1)
    size = rng.uniform(-1, 1, (out, 1, 1, 1))
    weight = rng.normal(0, 1, (out, inside // groups, kernel, kernel)) * 10**size / (kernel * (inside / groups) ** 0.5)
    weights[f"{name}.w"] = weight.astype(np.float32)
    weights[f"{name}.b"] = (rng.normal(0, 0.2, out) * 10 ** size.ravel()).astype(np.float32)
    pads = options.pop("pads", [kernel // 2] * 4)
    return helper.make_node(
        "Conv", [source, f"{name}.w", f"{name}.b"], [name], name=f"/{name}/Conv", pads=pads, **options
    )


@pytest.fixture(scope="session")
def convolution() -> Callable[..., onnx.NodeProto]:
    return random_convolution


@pytest.fixture(scope="session")
def pyramid(make_graph) -> onnx.ModelProto:
    """What RetinaFace has, small: separable blocks, a top-down addition, a concatenation, heads; for 16x16 px."""
    rng, weights = np.random.default_rng(0), {"scales": np.float32([1, 1, 2, 2])}

    def leaky(source):
        return helper.make_node("LeakyRelu", [source], [f"{source}.a"], alpha=0.1)

    nodes = []

    def block(name, source, out, inside, **options):
        nodes.extend([random_convolution(name, source, weights, out, inside, rng, **options), leaky(name)])
        return f"{name}.a"

    stem = block("stem", "input", 8, 3, strides=[2, 2])
    depthwise = block("depthwise", stem, 8, 8, group=8)
    fine = block("pointwise", depthwise, 16, 8, kernel=1)
    coarse = block("coarse", fine, 16, 16, strides=[2, 2])
    top = block("top", coarse, 8, 16, kernel=1)
    lateral = block("lateral", fine, 8, 16, kernel=1)
    nodes.append(
        helper.make_node(
            "Resize",
            [top, "", "scales"],
            ["up"],
            mode="nearest",
            coordinate_transformation_mode="asymmetric",
            nearest_mode="floor",
        )
    )
    nodes.append(helper.make_node("Add", [lateral, "up"], ["sum"]))
    merged = block("merge", "sum", 8, 8)
    nodes.append(random_convolution("left", merged, weights, 4, 8, rng))
    nodes.append(random_convolution("right", block("inner", merged, 4, 8), weights, 4, 4, rng))
    nodes.append(helper.make_node("Concat", ["left", "right"], ["joined"], axis=1))
    nodes.append(helper.make_node("Relu", ["joined"], ["features"]))
    nodes.append(random_convolution("boxes", "features", weights, 8, 8, rng, kernel=1))
    nodes.append(random_convolution("scores", "features", weights, 4, 8, rng, kernel=1))
    nodes.append(helper.make_node("Sigmoid", ["scores"], ["probabilities"]))
    return make_graph(nodes, ["boxes", "probabilities", "top.a"], weights, (1, 3, 16, 16))


@pytest.fixture(scope="session")
def images() -> list[np.ndarray]:
    """Eight images of noise for the pyramid, as the model takes them."""
    return list(np.random.default_rng(1).normal(0, 50, (8, 3, 16, 16)).astype(np.float32))
