"""What an artifact's own functions make of images is what OpenCV and numpy do, however images lie in memory."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facedeploy.core.letterbox import Letterbox
from facedeploy.image.vdsp import preprocess
from facedeploy.runtime.face_detector import letterbox_params
from facedeploy.runtime.input_maker import InputMaker, nearest
from facedeploy.runtime.ladder import at_scale
from facedeploy.runtime.model import Model

SIDES = st.integers(1, 3000)


@pytest.fixture(scope="module")
def model(tiny_artifact) -> Model:
    return Model.open(tiny_artifact.prefix)


@pytest.fixture(scope="module")
def maker(model) -> InputMaker:
    return model.input_maker(letterbox_params(model.artifact))


def check(maker: InputMaker, image: np.ndarray, order="BGR") -> None:
    batch = maker.new_batch()
    batch.array.fill(np.nan)
    box = maker.place(image.shape[:2])
    maker.lay(image, order, box, batch, 0)
    expected, expected_box = preprocess(image, maker.params, order)
    np.testing.assert_array_equal(batch.array[0].view(np.uint32), expected.view(np.uint32))
    assert box == expected_box


LAYOUTS = {
    "contiguous": lambda image: image,
    "cut out": lambda image: np.pad(image, ((3, 2), (5, 4), (0, 0)))[3:-2, 5:-4],
    "mirrored": lambda image: image[:, ::-1],
    "transposed": np.asfortranarray,
    "of another array's planes": lambda image: np.ascontiguousarray(image.transpose(2, 0, 1)).transpose(1, 2, 0),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("order", ["BGR", "RGB"])
@pytest.mark.parametrize("hw", [(240, 320), (96, 128), (50, 33), (1, 1), (7, 2000)])
def test_images_are_preprocessed_as_by_opencv_and_numpy(maker, layout, order, hw):
    check(maker, LAYOUTS[layout](np.random.default_rng(0).integers(0, 256, (*hw, 3), np.uint8)), order)


def test_a_read_only_image_stays_as_it_is(maker):
    image = np.random.default_rng(1).integers(0, 256, (77, 55, 3), np.uint8)
    image.setflags(write=False)
    check(maker, image)


IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@pytest.mark.parametrize("resize_type", ["BILINEAR_CV", "BILINEAR_PILLOW", "BILINEAR"])
@pytest.mark.parametrize(
    ("norma_type", "mean", "std"),
    [
        ("EQUAL", None, None),
        ("DIV255", None, None),
        ("DIV1275_MINUSONE", None, None),
        ("MINUSMEAN_DIVSTD", (104.0, 117.0, 123.0), (57.0, 58.0, 59.5)),
        ("DIV255_MINUSMEAN_DIVSTD", *IMAGENET),
    ],
)
def test_parameters_are_those_of_the_json(model, maker, resize_type, norma_type, mean, std):
    params = dataclasses.replace(
        maker.params, resize_type=resize_type, norma_type=norma_type, mean=mean, std=std, fill=(3, 2, 1)
    )
    check(model.input_maker(params), np.random.default_rng(2).integers(0, 256, (200, 300, 3), np.uint8), "RGB")


def test_batches_in_use_are_not_used_again(maker):
    first, second = maker.new_batch(), maker.new_batch()
    assert not np.shares_memory(first.array, second.array)
    place = first.array.ctypes.data
    del first
    assert maker.new_batch().array.ctypes.data == place


@given(source_hw=st.tuples(SIDES, SIDES), sizes=st.lists(st.tuples(SIDES, SIDES), min_size=1, max_size=6, unique=True))
def test_nearest_canvas_costs_the_image_no_pixel(letterbox_on, source_hw, sizes) -> None:
    """No canvas would show the image larger, and none that shows it as large is smaller."""
    chosen = nearest([letterbox_on(hw) for hw in sizes], source_hw).canvas_hw

    def content(canvas_hw):
        return Letterbox.fit(source_hw, canvas_hw).content_hw

    for other in sizes:
        assert content(other)[0] <= content(chosen)[0]
        assert content(other)[1] <= content(chosen)[1]
        scales = [min(hw[0] * source_hw[1], hw[1] * source_hw[0]) for hw in (other, chosen)]
        assert scales[0] < scales[1] or other[0] * other[1] >= chosen[0] * chosen[1]


@given(
    source_hw=st.tuples(SIDES, SIDES),
    scale=st.floats(0.1, 2),
    sizes=st.lists(st.tuples(SIDES, SIDES), min_size=1, max_size=6),
)
def test_at_a_scale_the_smallest_canvas_with_room_or_the_largest_is_taken(
    letterbox_on, source_hw, scale, sizes
) -> None:
    chosen = nearest([at_scale(letterbox_on(hw), scale) for hw in sizes], source_hw).canvas_hw
    content = [max(1, round(side * scale)) for side in source_hw]
    having_room = [hw for hw in sizes if hw[0] >= content[0] and hw[1] >= content[1]]
    areas = [hw[0] * hw[1] for hw in having_room or sizes]
    assert chosen[0] * chosen[1] == (min(areas) if having_room else max(areas))
    assert not having_room or chosen in having_room
