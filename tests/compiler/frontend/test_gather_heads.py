"""Outputs of each level, gathered, against plain indexing of the same numbers."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from facedeploy.compiler.build import compile_model
from facedeploy.compiler.frontend.gather_heads import gather_heads
from facedeploy.config.extra_ops import AnchorParams, ReceptiveFieldParams, RfNms, RpnNms
from facedeploy.core.anchor_spec import AnchorSpec
from facedeploy.core.errors import CompileError
from facedeploy.core.head_spec import HeadSpec
from facedeploy.core.prior_spec import PriorSpec
from facedeploy.core.receptive_field_spec import ReceptiveFieldSpec
from facedeploy.core.tensor_spec import TensorSpec
from facedeploy.detect.slots import head_slots
from facedeploy.runtime.model import Model

IMAGE = TensorSpec("input", (2, 3, 48, 80), "float32")
ANCHORS = AnchorSpec(((8, 4, 3), (2, 1)), (16, 8))
FIELDS = ReceptiveFieldSpec((15, 20, 40), (4, 4, 8), (3, 3, 7))
THRESHOLDS = {"confidence_threshold": 0.6, "nms_threshold": 0.3, "max_detections": 30}

Shapes = dict[str, tuple[int, ...]]


def model_of(shapes: Shapes) -> onnx.ModelProto:
    """One convolution or product for each output, of these shapes: what they are does not matter here."""
    nodes, weights = [], []
    rng = np.random.default_rng(0)
    for name, shape in shapes.items():
        size = int(np.prod(shape[1:]))
        weights += [
            onnx.numpy_helper.from_array(rng.normal(0, 30, (3, size)).astype(np.float32), f"{name}_w"),
            onnx.numpy_helper.from_array(np.array(shape), f"{name}_shape"),
        ]
        nodes += [
            helper.make_node("GlobalAveragePool", ["input"], [f"{name}_p"]),
            helper.make_node("Flatten", [f"{name}_p"], [f"{name}_f"]),
            helper.make_node("MatMul", [f"{name}_f", f"{name}_w"], [f"{name}_m"]),
            helper.make_node("Sigmoid", [f"{name}_m"], [f"{name}_s"]),
            helper.make_node("Reshape", [f"{name}_s", f"{name}_shape"], [name]),
        ]
    graph = helper.make_graph(
        nodes,
        "levels",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, IMAGE.shape)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()],
        weights,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def rows(array: np.ndarray, numbers: int) -> np.ndarray:
    """(N, A numbers, h, w) -> (N, h w A, numbers), one by one."""
    found = []
    for row in range(array.shape[2]):
        for column in range(array.shape[3]):
            for prior in range(array.shape[1] // numbers):
                found.append(array[:, prior * numbers : (prior + 1) * numbers, row, column])
    return np.stack(found, axis=1)


def of_anchors(outputs: dict[str, np.ndarray], landmarks: bool) -> list[np.ndarray]:
    priors = {16: 3, 8: 2}
    heads = [
        np.concatenate([rows(outputs[f"box{stride}"], 4) for stride in priors], axis=1),
        np.concatenate([rows(outputs[f"cls{stride}"][:, number:], 1) for stride, number in priors.items()], axis=1),
    ]
    points = [rows(outputs[f"points{stride}"], 10) for stride in priors] if landmarks else []
    return [*heads, np.concatenate(points, axis=1)] if landmarks else heads


def anchor_shapes(landmarks: bool) -> Shapes:
    """In another order than the anchors', which the sizes of the maps tell."""
    shapes: Shapes = {}
    for stride, priors, hw in ((8, 2, (6, 10)), (16, 3, (3, 5))):
        shapes |= {f"cls{stride}": (2, 2 * priors, *hw), f"box{stride}": (2, 4 * priors, *hw)}
        if landmarks:
            shapes[f"points{stride}"] = (2, 10 * priors, *hw)
    return shapes


FIELD_SHAPES: Shapes = {
    "score0": (2, 1, 11, 19),
    "box0": (2, 4, 11, 19),
    "score1": (2, 1, 11, 19),
    "box1": (2, 4, 11, 19),
    "score2": (2, 1, 5, 9),
    "box2": (2, 4, 5, 9),
}


def of_fields(outputs: dict[str, np.ndarray], scales: tuple[int, ...]) -> list[np.ndarray]:
    return [
        np.concatenate([rows(outputs[f"box{scale}"], 4) for scale in scales], axis=1),
        np.concatenate([rows(outputs[f"score{scale}"], 1) for scale in scales], axis=1),
    ]


@pytest.fixture
def image() -> np.ndarray:
    return np.random.default_rng(1).normal(0, 1, IMAGE.shape).astype(np.float32)


@pytest.mark.parametrize("landmarks", [False, True])
def test_maps_of_anchors_become_rows_in_the_order_of_the_anchors(run_onnx, image: np.ndarray, landmarks: bool) -> None:
    model = model_of(anchor_shapes(landmarks))
    gathered = run_onnx(gather_heads(model, IMAGE, ANCHORS), image)
    assert list(gathered) == ["loc", "conf", "landms"][: 3 if landmarks else 2]
    for got, expected in zip(gathered.values(), of_anchors(run_onnx(model, image), landmarks), strict=True):
        np.testing.assert_array_equal(got, expected)
    assert gathered["loc"].shape[1] == ANCHORS.count((48, 80))


@pytest.mark.parametrize("skipped", [(), (0,), (1, 2)])
def test_scales_of_one_size_are_told_by_their_order(run_onnx, image: np.ndarray, skipped: tuple[int, ...]) -> None:
    head = ReceptiveFieldSpec(FIELDS.receptive_fields, FIELDS.strides, FIELDS.starts, skipped)
    model = model_of(FIELD_SHAPES)
    gathered = run_onnx(gather_heads(model, IMAGE, head), image)
    assert list(gathered) == ["loc", "conf"]
    for got, expected in zip(gathered.values(), of_fields(run_onnx(model, image), head.scales), strict=True):
        np.testing.assert_array_equal(got, expected)


def test_two_probabilities_of_a_prior_make_the_root_of_their_product(run_onnx, image: np.ndarray) -> None:
    head = PriorSpec(((8,), (16,)), (8, 16), (1.0, 1.0), offset=0.0)
    counts = {8: 60, 16: 15}
    names = {"cls": 1, "obj": 1, "bbox": 4, "kps": 10}
    model = model_of({f"{n}_{stride}": (2, count, w) for n, w in names.items() for stride, count in counts.items()})
    outputs, gathered = run_onnx(model, image), run_onnx(gather_heads(model, IMAGE, head), image)
    joined = {n: np.concatenate([outputs[f"{n}_{stride}"] for stride in counts], axis=1) for n in names}
    np.testing.assert_array_equal(gathered["loc"], joined["bbox"])
    np.testing.assert_allclose(gathered["conf"], np.sqrt(joined["cls"] * joined["obj"]), rtol=1e-6)
    np.testing.assert_array_equal(gathered["landms"], joined["kps"])


def test_a_model_of_all_levels_and_other_outputs_stay(heads_model: onnx.ModelProto) -> None:
    single = model_of({"a": (2, 60, 4), "b": (2, 60, 2)})
    assert gather_heads(single, IMAGE, PriorSpec(((8,),), (8,))) is single
    assert gather_heads(heads_model, TensorSpec("input", (1, 3, 64, 64), "float32"), PriorSpec()) is heads_model
    model = model_of(FIELD_SHAPES | {"feature": (2, 7, 5, 9)})
    assert [output.name for output in gather_heads(model, IMAGE, FIELDS).graph.output] == ["loc", "conf", "feature"]


def test_rows_of_anchors_give_the_second_of_two_numbers(run_onnx, image: np.ndarray) -> None:
    head = AnchorSpec(((2, 1), (1,)), (16, 8))
    model = model_of({"c0": (2, 30, 2), "b0": (2, 30, 4), "c1": (2, 60, 2), "b1": (2, 60, 4)})
    outputs, gathered = run_onnx(model, image), run_onnx(gather_heads(model, IMAGE, head), image)
    np.testing.assert_array_equal(gathered["conf"], np.concatenate([outputs["c0"], outputs["c1"]], axis=1)[:, :, 1:])
    np.testing.assert_array_equal(gathered["loc"], np.concatenate([outputs["b0"], outputs["b1"]], axis=1))


def test_levels_of_one_size_and_different_strides_are_told_by_their_order(run_onnx, image: np.ndarray) -> None:
    head = PriorSpec(((64,), (128,)), (128, 256))
    model = model_of({"s0": (2, 1, 1), "s1": (2, 1, 1), "b0": (2, 1, 4), "b1": (2, 1, 4)})
    # Two scores of the first level would be those of a class and an object, so that each level takes its own.
    outputs, gathered = run_onnx(model, image), run_onnx(gather_heads(model, IMAGE, head), image)
    np.testing.assert_array_equal(gathered["conf"], np.concatenate([outputs["s0"], outputs["s1"]], axis=1))
    np.testing.assert_array_equal(gathered["loc"], np.concatenate([outputs["b0"], outputs["b1"]], axis=1))


def test_outputs_of_a_level_may_be_called_as_those_of_all(run_onnx, image: np.ndarray) -> None:
    head = AnchorSpec(((1,),), (8,))
    model = model_of({"conf": (2, 2, 6, 10), "loc": (2, 4, 6, 10)})
    outputs, gathered = run_onnx(model, image), run_onnx(gather_heads(model, IMAGE, head), image)
    np.testing.assert_array_equal(gathered["loc"], rows(outputs["loc"], 4))
    np.testing.assert_array_equal(gathered["conf"], rows(outputs["conf"][:, 1:], 1))


@pytest.mark.parametrize(
    ("left_out", "said"),
    [
        (
            "box8",
            r"scales \[\[8, 4, 3\], \[2, 1\]\] at strides \[16, 8\] on 48x80 .*: got 0 outputs that may be loc at "
            r"stride 8, expected one of 120 priors; the model's outputs are cls8 \[2, 4, 6, 10\], ",
        ),
        ("cls16", "got 0 outputs that may be conf at stride 16"),
        ("points16", "got 0 outputs that may be landms at stride 16"),
    ],
)
def test_a_level_without_outputs_is_refused(left_out: str, said: str) -> None:
    shapes = {name: shape for name, shape in anchor_shapes(landmarks=True).items() if name != left_out}
    with pytest.raises(CompileError, match=said):
        gather_heads(model_of(shapes), IMAGE, ANCHORS)


@pytest.mark.parametrize(
    ("head", "shapes", "said"),
    [
        (
            AnchorSpec(((2, 1),), (8,)),
            anchor_shapes(landmarks=False) | {"cls32": (2, 4, 2, 3), "box32": (2, 8, 2, 3)},
            r"scales \[\[2, 1\]\] at strides \[8\] on 48x80 .*: the model has scores and boxes of other strides "
            r"besides, cls32 \[2, 4, 2, 3\], box32 \[2, 8, 2, 3\]: name all strides of the net, or take the net that",
        ),
        (
            PriorSpec(((8,),), (8,)),
            {"s8": (2, 60, 1), "b8": (2, 60, 4), "s16": (2, 15, 1), "b16": (2, 15, 4), "k16": (2, 15, 10)},
            r"besides, s16 \[2, 15, 1\], b16 \[2, 15, 4\], k16",
        ),
        (ReceptiveFieldSpec((15, 20), (4, 4), (3, 3)), FIELD_SHAPES, "besides, score2"),
    ],
)
def test_levels_of_the_model_that_the_head_lacks_are_refused(head: HeadSpec, shapes: Shapes, said: str) -> None:
    with pytest.raises(CompileError, match=said):
        gather_heads(model_of(shapes), IMAGE, head)


@pytest.mark.parametrize(
    "others",
    [
        {"feature": (2, 4, 2, 3), "wide": (2, 16, 2, 3)},  # Of one and four times the channels, but not of two priors.
        {"boxes": (2, 50, 4), "scores": (2, 50, 2)},  # What the model itself makes of the maps.
        {"boxes": (2, 8, 2, 3)},
    ],
)
def test_outputs_that_are_no_level_stay(others: Shapes) -> None:
    head = AnchorSpec(((2, 1),), (8,))
    model = model_of({"c": (2, 4, 6, 10), "b": (2, 8, 6, 10)} | others)
    assert [output.name for output in gather_heads(model, IMAGE, head).graph.output] == ["loc", "conf", *others]


@pytest.mark.parametrize("kind", ["rpn_nms", "rf_nms"])
def test_an_artifact_finds_what_numpy_finds(
    kind: str, make_config: Callable, run_onnx, image: np.ndarray, tmp_path: Path
) -> None:
    head: HeadSpec
    if kind == "rpn_nms":
        head, model = ANCHORS, model_of(anchor_shapes(landmarks=False))
        post = RpnNms("rpn_nms", AnchorParams(strides=ANCHORS.strides, scales=ANCHORS.scales, **THRESHOLDS))
        heads = of_anchors(run_onnx(model, image), landmarks=False)
    else:
        head, model = FIELDS, model_of(FIELD_SHAPES)
        rf = {"receptive_fields": FIELDS.receptive_fields, "strides": FIELDS.strides, "starts": FIELDS.starts}
        post = RfNms("rf_nms", ReceptiveFieldParams(**rf, **THRESHOLDS))
        heads = of_fields(run_onnx(model, image), (0, 1, 2))
    file = tmp_path / "levels.onnx"
    onnx.save(model, file)
    artifact = compile_model(make_config(file, tmp_path, IMAGE.shape, post=post))
    assert artifact.manifest.postprocess is not None
    assert artifact.manifest.postprocess.head == head
    opened = Model.open(artifact.prefix)
    got = opened.detect(opened.infer(image))
    expected = head_slots(heads[0], heads[1], None, head, (48, 80), artifact.manifest.postprocess.nms)
    np.testing.assert_allclose(got.scores, expected.scores, atol=1e-6)
    np.testing.assert_allclose(got.boxes, expected.boxes, atol=1e-3)
    assert got.landmarks.shape == (2, 30, 0)
    assert (got.scores[:, 0] > 0.6).all()
