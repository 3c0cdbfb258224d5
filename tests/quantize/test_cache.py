"""Ranges are found once for each model, dataset and mode."""

import numpy as np
import pytest
from onnx import numpy_helper

from facedeploy.config.build_config import QuantizeOptions
from facedeploy.config.process_ops import DecodeImage, ToTensor
from facedeploy.image.dataset import list_images
from facedeploy.quantize.cache import calibrated
from facedeploy.quantize.samples import CalibrationSet

OPS = (DecodeImage("DecodeImage"), ToTensor("ToTensor"))


@pytest.fixture
def samples(tmp_path):
    import cv2

    (tmp_path / "images").mkdir()
    for index in range(3):
        pixels = np.random.default_rng(index).integers(0, 256, (16, 16, 3), dtype=np.uint8)
        assert cv2.imwrite(str(tmp_path / f"images/{index}.png"), pixels)
    return CalibrationSet(tuple(list_images(tmp_path / "images")), OPS)


@pytest.fixture
def ask(pyramid, samples, tmp_path):
    """The table, and whether images were run for it."""

    def get(model=pyramid, data=samples, options=QuantizeOptions(), note=lambda _: None):  # noqa: B008
        ran = []
        table = calibrated(
            model, data, options, tmp_path / "workspace", note=note, on_image=lambda done, _: ran.append(done)
        )
        return table, bool(ran)

    return get


def test_second_time_reads_the_same_table(ask, tmp_path):
    heard = []
    first, ran = ask()
    assert ran
    second, ran_again = ask(note=heard.append)
    assert not ran_again
    assert second.to_bytes() == first.to_bytes()
    (file,) = (tmp_path / "workspace/.ranges").iterdir()
    assert str(file) in heard[0]


@pytest.mark.parametrize(
    "options", [QuantizeOptions("max"), QuantizeOptions(skip_conv_layers=(1,))], ids=["alias", "skipped layer"]
)
def test_options_that_change_no_range_read_it_too(ask, options):
    ask()
    assert not ask(options=options)[1]


@pytest.mark.parametrize("options", [QuantizeOptions("mse"), QuantizeOptions(quantize_per_channel=False)])
def test_other_options_calibrate(ask, options):
    ask()
    assert ask(options=options)[1]
    assert not ask()[1]


def test_other_model_or_data_calibrates(ask, pyramid, samples):
    ask()
    other = type(pyramid)()
    other.CopyFrom(pyramid)
    weight = numpy_helper.to_array(other.graph.initializer[1]) * np.float32(1.5)
    other.graph.initializer[1].CopyFrom(numpy_helper.from_array(weight, other.graph.initializer[1].name))
    assert ask(model=other)[1]
    assert ask(data=CalibrationSet(samples.files[:2], OPS))[1]
    assert not ask()[1]


@pytest.mark.parametrize("content", ["", "{", "[]", '{"ranges": 3}', "\x00", "[" * 5000])
def test_damaged_file_is_made_anew(ask, tmp_path, content):
    first, _ = ask()
    (file,) = (tmp_path / "workspace/.ranges").iterdir()
    good = file.read_bytes()
    file.write_text(content)
    heard = []
    second, ran = ask(note=heard.append)
    assert ran
    assert second.to_bytes() == first.to_bytes()
    assert str(file) in heard[0]
    assert file.read_bytes() == good
    assert [path.name for path in file.parent.iterdir()] == [file.name]
