"""The compiled post-processing against the numpy one: the same boxes are kept, coordinates differ by rounding."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import tvm
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from facedeploy.compiler.kernels.head_nms import head_nms
from facedeploy.compiler.pipeline import BUILT_KERNELS
from facedeploy.compiler.target import Target
from facedeploy.config.process_ops import CvtColor, DecodeImage, Normalize, Pad, Resize, ToTensor
from facedeploy.core.anchor_spec import AnchorSpec
from facedeploy.core.head_spec import HeadSpec
from facedeploy.core.nms_params import CANDIDATES, NmsParams
from facedeploy.core.prior_spec import PriorSpec
from facedeploy.core.receptive_field_spec import ReceptiveFieldSpec
from facedeploy.detect.decode import decode_boxes
from facedeploy.detect.priors import priors_of
from facedeploy.detect.slots import Slots, head_slots
from facedeploy.export.checkpoint import load_checkpoint
from facedeploy.export.export_model import export_model
from facedeploy.export.parity import run_onnx
from facedeploy.image.process_ops import run_process_ops
from facedeploy.models.specs import MODELS

SPEC = PriorSpec()
CANVAS_HW, BATCH = (64, 128), 2  # Powers of two: priors and what they overlap are exact in float32.
COUNT = SPEC.count(CANVAS_HW)
MARGIN = 1e-5  # An IoU nearer to the threshold than this may round to its other side, unless it is exact.

TO_640 = (
    DecodeImage("DecodeImage"),
    CvtColor("CvtColor", "COLOR_RGB2BGR"),
    Resize("Resize", (640, -1), "long"),
    Pad("Pad", pad_to_square=True),
    Normalize("Normalize", mean=(104.0, 117.0, 123.0), std=(1.0, 1.0, 1.0)),
    ToTensor("ToTensor"),
)

Heads = tuple[np.ndarray, np.ndarray, np.ndarray]
Compiled = Callable[..., Slots]


@pytest.fixture(scope="session")
def compile_nms(target: Target) -> Callable[..., Compiled]:
    @cache
    def compiled(
        canvas_hw: tuple[int, int], batch: int, spec: HeadSpec = SPEC, classes: int = 2, points: int = 5
    ) -> Compiled:
        module = tvm.IRModule({spec.type: head_nms(spec, canvas_hw, batch, classes=classes, points=points)})
        kernel = tvm.tirx.build(module, target=target.tvm_target, pipeline=BUILT_KERNELS)[spec.type]

        def run(loc: np.ndarray, conf: np.ndarray, landms: np.ndarray | None, params: NmsParams) -> Slots:
            widths = (1, 4, 2 * points) if points else (1, 4)
            slots = [tvm.runtime.empty((batch, params.max_detections, width), "float32") for width in widths]
            heads = (loc, conf, landms) if points else (loc, conf)
            inputs = [tvm.runtime.tensor(np.ascontiguousarray(array)) for array in heads]
            kernel(*inputs, params.confidence_threshold, params.nms_threshold, *slots)
            found = [slot.numpy() for slot in slots]
            return Slots(*found) if points else Slots(*found, np.empty((batch, params.max_detections, 0), np.float32))

        return run

    return compiled


@pytest.fixture(scope="session")
def compiled_nms(compile_nms: Callable[..., Compiled]) -> Compiled:
    return compile_nms(CANVAS_HW, BATCH)


def check_same(got: Slots, expected: Slots) -> None:
    np.testing.assert_array_equal(got.scores, expected.scores)
    # Rounding grows with the box: a corner is the center less half the size.
    size = np.abs(expected.boxes).max(axis=2, keepdims=True)
    assert (np.abs(got.boxes - expected.boxes) <= 1e-3 + 1e-5 * size).all()
    np.testing.assert_allclose(got.landmarks, expected.landmarks, rtol=1e-5, atol=1e-3)


def make_heads(seed: int, faces: int | None = None, count: int = COUNT, batch: int = BATCH) -> Heads:
    """Noise; scores as a net gives them: nearly all near 0, `faces` anywhere (None: all of them anywhere)."""
    rng = np.random.default_rng(seed)
    scores = rng.beta(0.05, 20, (batch, count)).astype(np.float32)
    for row in scores:
        some = slice(None) if faces is None else rng.choice(count, faces, replace=False)
        row[some] = rng.random(row[some].shape, np.float32)
    return (
        rng.normal(0, 1, (batch, count, 4)).astype(np.float32),
        np.stack([1 - scores, scores], axis=2),
        rng.normal(0, 1, (batch, count, 10)).astype(np.float32),
    )


def threshold_off_every_iou(heads: Heads, wanted: float) -> float:
    """The first threshold from `wanted` on, or back from 1, that no IoU of two priors' boxes is near to."""
    ious = []
    for loc in heads[0]:
        unit = decode_boxes(loc, priors_of(SPEC, CANVAS_HW), SPEC.variances).astype(np.float64)
        boxes = unit * np.tile(CANVAS_HW[::-1], 2)
        boxes = boxes[np.isfinite(boxes).all(1)]
        low, high = np.maximum(boxes[:, None, :2], boxes[:, :2]), np.minimum(boxes[:, None, 2:], boxes[:, 2:])
        shared = np.maximum(0, high - low + 1).prod(axis=2)
        areas = (boxes[:, 2:] - boxes[:, :2] + 1).prod(axis=1)
        ious.append((shared / (areas[:, None] + areas - shared)).ravel())
    sorted_ious = np.sort(np.concatenate(ious))
    for threshold in [*np.arange(wanted, 0.999, 4 * MARGIN), *np.arange(0.999, 0.001, -4 * MARGIN)]:
        near = np.searchsorted(sorted_ious, [threshold - MARGIN, threshold + MARGIN])
        if near[0] == near[1]:
            return float(threshold)
    raise AssertionError("an IoU everywhere")


SEEDS = st.integers(0, 2**32 - 1)
SLOTS = st.sampled_from([1, 2, 7, COUNT - 1, COUNT, COUNT + 1, 750, CANDIDATES])


@settings(deadline=None, max_examples=60)
@given(SEEDS, st.sampled_from([0, 1, 5, 40, None]), st.floats(0.02, 0.9), st.floats(0.02, 0.9), SLOTS)
def test_same_boxes_are_kept_of_noise(
    compiled_nms: Compiled, seed: int, faces: int | None, confidence: float, nms_threshold: float, limit: int
) -> None:
    heads = make_heads(seed, faces)
    params = NmsParams(confidence, threshold_off_every_iou(heads, nms_threshold), limit)
    check_same(compiled_nms(*heads, params), head_slots(*heads, SPEC, CANVAS_HW, params))


@settings(deadline=None, max_examples=60)
@given(SEEDS, st.sampled_from([1, 2, 8, 64]), st.floats(0.02, 0.9), SLOTS)
def test_same_boxes_are_kept_when_scores_are_equal(
    compiled_nms: Compiled, seed: int, steps: int, nms_threshold: float, limit: int
) -> None:
    loc, conf, landms = make_heads(seed)
    heads = loc, np.round(conf * steps) / np.float32(steps), landms
    params = NmsParams(0.25, threshold_off_every_iou(heads, nms_threshold), limit)
    check_same(compiled_nms(*heads, params), head_slots(*heads, SPEC, CANVAS_HW, params))


# What no net should give, and one may. Of the logits of a size, 500 overflows once it is exponentiated, 350 does not.
ODD = st.sampled_from([np.nan, np.inf, -np.inf, 3e38, -3e38, 1e4, -1e4, 500.0, 350.0, 1e-40, -0.0, 0.0, -1.0, 2.0])


@settings(deadline=None, max_examples=100)
@given(
    SEEDS,
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, BATCH * COUNT * 10), ODD), max_size=60),
    st.sampled_from([0.0, 0.02, 1.0]),
    SLOTS,
)
def test_same_boxes_are_kept_when_some_numbers_are_odd(
    compiled_nms: Compiled, seed: int, odd: list[tuple[int, int, float]], confidence: float, limit: int
) -> None:
    heads = make_heads(seed)
    for head, place, value in odd:
        heads[head].flat[place % heads[head].size] = value
    params = NmsParams(confidence, threshold_off_every_iou(heads, 0.4), limit)
    got = compiled_nms(*heads, params)
    check_same(got, head_slots(*heads, SPEC, CANVAS_HW, params))
    assert all(np.isfinite(part).all() for part in got)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 0.0, -0.0, -0.5, -3e38])
def test_no_slot_is_filled_when_every_score_is(compiled_nms: Compiled, value: float) -> None:
    loc, conf, landms = make_heads(0)
    conf[...] = value
    got = compiled_nms(loc, conf, landms, NmsParams(0.0, 0.4, 9))
    assert all((part == -1).all() for part in got)


def test_denormal_scores_count_and_order_as_numbers(compiled_nms: Compiled) -> None:
    loc, conf, landms = (np.zeros_like(head) for head in make_heads(0))
    smallest = np.finfo(np.float32).smallest_subnormal
    conf[0, [0, 100, 200], 1] = smallest, 3 * smallest, 2 * smallest
    got = compiled_nms(loc, conf, landms, NmsParams(0.0, 1.0, 4))
    assert got.scores[0, :3, 0].tolist() == [3 * smallest, 2 * smallest, smallest]
    assert got.scores[0, 3, 0] == -1


def test_score_equal_to_the_threshold_is_dropped(compiled_nms: Compiled) -> None:
    loc, conf, landms = (np.zeros_like(head) for head in make_heads(0))
    conf[1, 5, 1], conf[1, 250, 1] = 0.3, np.nextafter(np.float32(0.3), np.float32(1))
    got = compiled_nms(loc, conf, landms, NmsParams(0.3, 0.4, 2))
    assert got.scores[1, :, 0].tolist() == [conf[1, 250, 1], -1]
    conf[...] = 1
    assert (compiled_nms(loc, conf, landms, NmsParams(1.0, 0.4, 2)).scores == -1).all()


@settings(deadline=None, max_examples=40)
@given(SEEDS, st.sampled_from([0.0, 1.0, 0.36, 289 / 1089, 289 / (2 * 1089 - 289), 0.5, 0.999]), SLOTS)
def test_same_boxes_are_kept_when_ious_equal_the_threshold(
    compiled_nms: Compiled, seed: int, nms_threshold: float, limit: int
) -> None:
    """Nothing encoded: boxes are the priors, whose areas and overlaps are whole numbers, so that every IoU is exact.

    153 / 425 = 0.36 is that of neighbors of 16 px, 289 / 1089 that of both priors of a cell.
    """
    _, conf, _ = make_heads(seed)
    heads = np.zeros((BATCH, COUNT, 4), np.float32), conf, np.zeros((BATCH, COUNT, 10), np.float32)
    exact = float(np.float32(nms_threshold))
    for threshold in {exact, max(0.0, float(np.nextafter(np.float32(exact), np.float32(-1))))}:
        params = NmsParams(0.02, threshold, limit)
        check_same(compiled_nms(*heads, params), head_slots(*heads, SPEC, CANVAS_HW, params))


def test_iou_equal_to_the_threshold_is_kept(compiled_nms: Compiled) -> None:
    loc, conf, landms = (np.zeros_like(head) for head in make_heads(0))
    conf[0, [100, 102], 1] = 0.9, 0.8  # Neighbors of 16 px, 8 px apart: (8 + 1) 17 px of 2 17 17 - 9 17.
    equal = np.float32(153) / np.float32(425)
    for threshold, kept in ((equal, 2), (np.nextafter(equal, np.float32(0)), 1)):
        got = compiled_nms(loc, conf, landms, NmsParams(0.02, float(threshold), 9))
        assert (got.scores[0] != -1).sum() == kept


@pytest.mark.parametrize("nms_threshold", [0.0, 0.4, 1.0])
def test_candidates_are_the_best_five_thousand(compile_nms: Callable[..., Compiled], nms_threshold: float) -> None:
    canvas_hw = (512, 256)  # Powers of two again: with nothing encoded, every IoU is exact.
    count = SPEC.count(canvas_hw)
    assert count > CANDIDATES
    loc, conf, landms = make_heads(3, count=count, batch=1)
    conf[..., 1] = np.maximum(conf[..., 1], 0.02)
    heads = np.zeros_like(loc), conf, landms
    params = NmsParams(0.01, nms_threshold, CANDIDATES)
    got = compile_nms(canvas_hw, 1)(*heads, params)
    check_same(got, head_slots(*heads, SPEC, canvas_hw, params))
    if nms_threshold == 1:
        assert got.scores[0, -1, 0] == np.sort(conf[0, :, 1])[-CANDIDATES]


@pytest.mark.parametrize(
    ("spec", "canvas_hw"),
    [
        (PriorSpec(), (33, 65)),
        (PriorSpec(((10, 20, 30),), (5,), (0.3, 0.1)), (17, 23)),
        (PriorSpec(((8,), (16, 24, 32, 40), (64, 65)), (4, 16, 64)), (50, 30)),
        (PriorSpec(((8,), (64,)), (4, 16), aspect_ratio=1.5, clip=True), (50, 30)),
        (PriorSpec(((8,),), (8,), (1.0, 1.0), offset=0.0), (40, 24)),
    ],
)
def test_priors_of_any_levels_are_decoded(
    compile_nms: Callable[..., Compiled], spec: PriorSpec, canvas_hw: tuple[int, int]
) -> None:
    heads = make_heads(1, count=spec.count(canvas_hw), batch=1)
    params = NmsParams(0.0, 1.0, spec.count(canvas_hw) + 3)
    got = compile_nms(canvas_hw, 1, spec)(*heads, params)
    check_same(got, head_slots(*heads, spec, canvas_hw, params))
    assert (got.scores != -1).sum() == (heads[1][..., 1] > 0).sum()


@pytest.mark.parametrize(
    ("spec", "canvas_hw", "points"),
    [
        (PriorSpec(((16,), (32,)), (4, 8), aspect_ratio=1.5, clip=True), (33, 65), 0),
        (AnchorSpec(), (33, 65), 5),
        (AnchorSpec(((8, 4),), (16,)), (192, 256), 0),
        (AnchorSpec(((3, 2, 1), (5,)), (8, 16), 9), (50, 30), 5),
        (ReceptiveFieldSpec(), (97, 130), 0),
        (ReceptiveFieldSpec(skip_scales=(0, 1, 6)), (97, 130), 0),
        (ReceptiveFieldSpec((20, 40), (4, 8), (3, 7)), (64, 64), 0),
    ],
)
@settings(deadline=None, max_examples=15)
@given(data=st.data())
def test_heads_of_every_kind_are_decoded(
    compile_nms: Callable[..., Compiled],
    spec: HeadSpec,
    canvas_hw: tuple[int, int],
    points: int,
    data: st.DataObject,
) -> None:
    classes = 2 if isinstance(spec, PriorSpec) else 1
    count, batch = spec.count(canvas_hw), 2
    loc, conf, landms = make_heads(data.draw(SEEDS), min(count, 40), count, batch)
    for value in data.draw(st.lists(ODD, max_size=3)):
        loc[0, data.draw(st.integers(0, count - 1)), data.draw(st.integers(0, 3))] = value
    heads = loc, conf[..., -classes:], landms if points else None
    params = NmsParams(
        data.draw(st.floats(0.02, 0.9)), data.draw(st.floats(0.1, 0.9)), data.draw(st.sampled_from([1, 7, CANDIDATES]))
    )
    expected = head_slots(*heads, spec, canvas_hw, params)
    for nearby in (-MARGIN, MARGIN):  # An overlap this near to the threshold may round to its other side.
        other = head_slots(*heads, spec, canvas_hw, replace(params, nms_threshold=params.nms_threshold + nearby))
        assume(np.array_equal(other.scores, expected.scores))
    check_same(compile_nms(canvas_hw, batch, spec, classes, points)(*heads, params), expected)


@settings(deadline=None, max_examples=10)
@given(SEEDS)
def test_images_of_a_batch_do_not_mix(compiled_nms: Compiled, seed: int) -> None:
    heads = make_heads(seed, faces=20)
    params = NmsParams(0.02, threshold_off_every_iou(heads, 0.4), 30)
    swapped = compiled_nms(*(head[::-1] for head in heads), params)
    for part, other in zip(compiled_nms(*heads, params), swapped, strict=True):
        np.testing.assert_array_equal(part, other[::-1])


def test_wrong_arguments_are_refused_and_not_read(compile_nms: Callable[..., Compiled]) -> None:
    loc, conf, landms = make_heads(0)
    with pytest.raises(ValueError, match="loc"):
        compile_nms(CANVAS_HW, BATCH)(loc[:, :-1], conf, landms, NmsParams())
    with pytest.raises(TypeError, match="conf"):
        compile_nms(CANVAS_HW, BATCH)(loc, conf.astype(np.float64), landms, NmsParams())


def test_same_boxes_are_kept_of_real_images(
    shared_data: Path, tmp_path: Path, compile_nms: Callable[..., Compiled]
) -> None:
    model = MODELS["mobilenet0.25"]
    weights = load_checkpoint(shared_data / "weights" / "mobilenet0.25_Final.pth", model)
    report = export_model(model, (640, 640), weights=weights, output_dir=tmp_path)
    images = sorted((shared_data / "data" / "wider_calib" / "images").rglob("*.jpg"))[::30]
    assert len(images) >= 4
    kernel, best = compile_nms((640, 640), 1), []
    for image in images:
        outputs = run_onnx(report.onnx.path, run_process_ops(image, TO_640)[None])
        heads = outputs["loc"], outputs["conf"], outputs["landms"]
        for params in (NmsParams(), NmsParams(0.5, 0.3, 10), NmsParams(0.0, 0.4, CANDIDATES)):
            got = kernel(*heads, params)
            check_same(got, head_slots(*heads, SPEC, (640, 640), params))
            best.append(got.scores[0, 0, 0])
    assert max(best) > 0.9
