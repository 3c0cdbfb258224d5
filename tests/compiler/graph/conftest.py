"""Graphs imported from small ONNX models, before any pass."""

from collections.abc import Callable

import onnx
import pytest
from net import Net
from tvm.relax import transform
from tvm.relax.frontend.onnx import from_onnx

from facedeploy.compiler.graph.from_relax import graph_of
from facedeploy.compiler.graph.nodes import Graph
from facedeploy.compiler.passes.fold_reshapes import fold_reshapes
from facedeploy.compiler.passes.restore_limits import restore_limits

MakeModel = Callable[..., onnx.ModelProto]
Import = Callable[..., Graph]


@pytest.fixture
def imported(make_graph: MakeModel) -> Import:
    def build(net: Net, outputs: list[str], shape: tuple[int, ...] = (1, 16, 8, 8)) -> Graph:
        model = make_graph(net.nodes, outputs, net.weights, shape)
        module = from_onnx(model, shape_dict={"input": list(shape)}, keep_params_in_input=False)
        for apply in (fold_reshapes, transform.CanonicalizeBindings(), transform.FoldConstant(), restore_limits):
            module = apply(module)
        graph = graph_of(module["main"])
        assert graph is not None
        return graph

    return build
