import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facedeploy.core.prior_spec import PriorSpec
from facedeploy.detect.priors import priors_of

SIZES = st.lists(st.integers(1, 600), min_size=1, max_size=3).map(tuple)
LEVELS = st.lists(st.tuples(SIZES, st.integers(1, 64)), min_size=1, max_size=4)


def priors_by_loops(spec: PriorSpec, height: int, width: int) -> list[tuple[float, float, float, float]]:
    """The nested loops of Pytorch_Retinaface's `prior_box.py`, by their definition."""
    priors = []
    for stride, sizes in zip(spec.strides, spec.min_sizes, strict=True):
        top = 0
        while top < height:
            left = 0
            while left < width:
                priors += [
                    ((left + stride / 2) / width, (top + stride / 2) / height, size / width, size / height)
                    for size in sizes
                ]
                left += stride
            top += stride
    return priors


@pytest.mark.parametrize(
    ("canvas_hw", "count"), [((640, 640), 16_800), ((320, 320), 4200), ((96, 128), 504), ((1, 1), 6), ((33, 65), 132)]
)
def test_priors_have_the_documented_count(canvas_hw: tuple[int, int], count: int) -> None:
    priors = priors_of(PriorSpec(), canvas_hw)
    assert priors.shape == (count, 4)
    assert priors.dtype == np.float32
    assert PriorSpec().count(canvas_hw) == count


@settings(deadline=None)
@given(LEVELS, st.integers(1, 200), st.integers(1, 200))
def test_priors_equal_plain_loops_on_any_canvas(
    levels: list[tuple[tuple[int, ...], int]], height: int, width: int
) -> None:
    spec = PriorSpec(tuple(sizes for sizes, _ in levels), tuple(stride for _, stride in levels))
    expected = priors_by_loops(spec, height, width)
    np.testing.assert_allclose(priors_of(spec, (height, width)), expected, rtol=1e-6)
    assert spec.count((height, width)) == len(expected)


def test_priors_start_with_the_known_numbers_at_640() -> None:
    first, second, third, *_ = priors_of(PriorSpec(), (640, 640)) * 640
    assert first.tolist() == [4, 4, 16, 16]
    assert second.tolist() == [4, 4, 32, 32]
    assert third.tolist() == [12, 4, 16, 16]
    assert (priors_of(PriorSpec(), (640, 640))[-1] * 640).tolist() == [624, 624, 512, 512]


def test_priors_of_dsfd_are_high_and_clipped() -> None:
    spec = PriorSpec(((16,), (512,)), (4, 128), aspect_ratio=1.5, clip=True)
    priors = priors_of(spec, (480, 150))
    first, last = priors[0] * [150, 480, 150, 480], priors[-1]
    np.testing.assert_allclose(first, [2, 2, 16 / 1.5**0.5, 16 * 1.5**0.5], rtol=1e-6)
    # The last cell is centered at 192 of 150 px, and 448 of 480; the prior is 418 px wide and 627 high.
    np.testing.assert_allclose(last, [1, 448 / 480, 1, 1], rtol=1e-6)


def test_priors_may_be_centered_at_the_corner_of_their_cell() -> None:
    priors = priors_of(PriorSpec(((8,),), (8,), offset=0.0), (16, 32)) * [32, 16, 32, 16]
    assert priors[:6, :2].tolist() == [[0, 0], [8, 0], [16, 0], [24, 0], [0, 8], [8, 8]]


@pytest.mark.parametrize(("key", "value"), [("aspect_ratio", 0.0), ("aspect_ratio", float("nan")), ("offset", 1.5)])
def test_a_prior_needs_a_shape_and_a_place(key: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{key}: got"):
        PriorSpec(**{key: value})
