import json
from typing import Any

import pytest

from facedeploy.config.vdsp_params import Geometry, load_vdsp_params
from facedeploy.core.errors import ConfigError

PREFIX = "FUSION_OP_RGB_"
LETTERBOX, EXT = f"{PREFIX}LETTERBOX_CVTCOLOR_NORM_TENSOR", f"{PREFIX}LETTERBOX_CVTCOLOR_NORM_TENSOR_EXT"
RESIZE, CROP = f"{PREFIX}RESIZE_CVTCOLOR_NORM_TENSOR", f"{PREFIX}RESIZE_CVTCOLOR_CROP_NORM_TENSOR"
COMMON: dict[str, Any] = {
    "IimageFormat": "RGB_PLANAR",
    "Mean": [104.0, 117.0, 123.0],
    "Std": [1.0, 1.0, 1.0],
    "NormaType": "MINUSMEAN_DIVSTD",
    "ColorCvtCode": "RGB2BGR",
    "ResizeType": "BILINEAR_CV",
}
OUTPUT = {"OimageWidth": 64, "OimageHeight": 48}
RESIZED = {"ResizeWidth": 80, "ResizeHeight": 60}
PADDED = {"Padding": [1, 2, 3], "PaddingLeft": 1, "PaddingTop": 2, "PaddingRight": 3, "PaddingBottom": 4}


@pytest.fixture
def load(tmp_path):
    def run(op_type, *sections):
        config = {key: value for section in (COMMON, *sections) for key, value in section.items()}
        config = {key: value for key, value in config.items() if value is not ...}
        (tmp_path / "v.json").write_text(json.dumps({"OpType": op_type, "OpConfig": config}))
        return load_vdsp_params(tmp_path / "v.json")

    return run


@pytest.mark.parametrize(
    ("op_type", "sections", "geometry"),
    [
        (LETTERBOX, [OUTPUT], Geometry((48, 64), (48, 64), True)),
        (EXT, [RESIZED, PADDED], Geometry((66, 84), (60, 80), True, (1, 2))),
        (RESIZE, [OUTPUT], Geometry((48, 64), (48, 64), False)),
        (RESIZE, [RESIZED], Geometry((60, 80), (60, 80), False)),
        (RESIZE, [RESIZED, {"OimageWidth": 80, "OimageHeight": 60}], Geometry((60, 80), (60, 80), False)),
        (CROP, [OUTPUT, RESIZED, {"CropX": 5, "CropY": 6}], Geometry((48, 64), (60, 80), False, (-5, -6))),
    ],
)
def test_load_resolves_the_sizes_of_every_operator(load, op_type, sections, geometry):
    params = load(op_type, *sections)
    assert params.geometry == geometry
    assert params.canvas_hw == geometry.canvas_hw


@pytest.mark.parametrize(
    ("image_format", "code", "order", "fill"),
    [
        ("RGB_PLANAR", "NO_CHANGE", "RGB", (1, 2, 3)),
        ("RGB_PLANAR", "RGB2BGR", "BGR", (3, 2, 1)),
        ("RGB_PLANAR", "BGR2RGB", "BGR", (3, 2, 1)),
        ("BGR888", "NO_CHANGE", "BGR", (1, 2, 3)),
        ("BGR888", "BGR2RGB", "RGB", (3, 2, 1)),
    ],
)
def test_load_resolves_the_color_order_of_canvas_and_fill(load, image_format, code, order, fill):
    params = load(EXT, RESIZED, PADDED, {"IimageFormat": image_format, "ColorCvtCode": code})
    assert (params.color_order, params.fill) == (order, fill)


def test_load_needs_no_mean_where_norma_type_has_none(load):
    assert load(LETTERBOX, OUTPUT, {"NormaType": "DIV255", "Mean": ..., "Std": ...}).mean is None


@pytest.mark.parametrize(
    ("op_type", "sections", "message"),
    [
        ("FUSION_OP_YUV", [OUTPUT], "v.json: OpType: got 'FUSION_OP_YUV', expected FUSION_OP_RGB_LETTERBOX_CVTCOLOR"),
        (
            LETTERBOX,
            [{"OimageWidth": 64}],
            "v.json: OpConfig: OimageHeight: is missing, expected a whole number from 1",
        ),
        (LETTERBOX, [OUTPUT, {"CropX": 1}], "v.json: OpConfig: CropX: unknown key"),
        (
            LETTERBOX,
            [OUTPUT, {"NormType": "EQUAL", "NormaType": ...}],
            "OpConfig: NormType: unknown key, did you mean NormaType?",
        ),
        (LETTERBOX, [OUTPUT, {"NormaType": "DIV"}], "NormaType: got 'DIV', expected DIV255_MINUSMEAN_DIVSTD, DIV255, "),
        (LETTERBOX, [OUTPUT, {"Mean": ...}], "OpConfig: NormaType MINUSMEAN_DIVSTD needs Mean and Std"),
        (LETTERBOX, [OUTPUT, {"Std": [1, 1, 0]}], "OpConfig: Std.2: got 0, expected a number above 0"),
        (LETTERBOX, [OUTPUT, {"OimageWidth": 64.0}], "OpConfig: OimageWidth: got 64.0, expected a whole number"),
        (
            LETTERBOX,
            [OUTPUT, {"IimageFormat": "YUV_NV12"}],
            "IimageFormat: got 'YUV_NV12', expected RGB_PLANAR or BGR888",
        ),
        (LETTERBOX, [OUTPUT, {"ResizeType": "AREA"}], "expected BILINEAR_CV, BILINEAR_PILLOW or BILINEAR"),
        (
            EXT,
            [RESIZED, PADDED, {"Padding": [1, 2, 256]}],
            "OpConfig: Padding.2: got 256, expected a whole number from 0 to 255",
        ),
        (EXT, [RESIZED, PADDED, {"PaddingLeft": -1}], "OpConfig: PaddingLeft: got -1, expected a whole number from 0"),
        (RESIZE, [OUTPUT, RESIZED], "OpConfig: expected ResizeWidth and ResizeHeight, or OimageWidth and OimageHeight"),
        (RESIZE, [], "OpConfig: expected ResizeWidth and ResizeHeight"),
        (
            CROP,
            [OUTPUT, RESIZED, {"CropX": 17, "CropY": 0}],
            "the crop ends at x 81, y 48, outside of the resized image",
        ),
    ],
)
def test_load_says_in_one_line_what_is_wrong(load, op_type, sections, message):
    with pytest.raises(ConfigError) as caught:
        load(op_type, *sections)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_load_raises_when_a_key_is_there_twice(tmp_path):
    (tmp_path / "v.json").write_text('{"OpType": "a", "OpType": "b", "OpConfig": {}}')
    with pytest.raises(ConfigError, match="the key 'OpType' is there twice"):
        load_vdsp_params(tmp_path / "v.json")


def test_reference_jsons_load(shared_data):
    files = sorted((shared_data / "data" / "reference_configs").glob("*.json"))
    assert {load_vdsp_params(path).canvas_hw for path in files} == {(640, 640), (160, 160), (48, 192)}
