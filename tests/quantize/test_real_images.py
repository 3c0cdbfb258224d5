"""A real net on real faces: integers cost it next to nothing.

What they cost in AP is measured by hand; here, how far the heads of images that nothing was calibrated with move.
"""

import numpy as np
import pytest

pytest.importorskip("torch", reason="exporting a net needs torch")
import onnx

from facedeploy.config.build_config import Dataset, QuantizeOptions, Sampler
from facedeploy.config.process_ops import CvtColor, DecodeImage, Normalize, Pad, Resize, ToTensor
from facedeploy.export.checkpoint import load_checkpoint
from facedeploy.export.export_model import export_model
from facedeploy.image.dataset import list_images
from facedeploy.image.process_ops import normalization_of
from facedeploy.models.specs import MODELS
from facedeploy.quantize.cache import calibrated
from facedeploy.quantize.insert_qdq import insert_qdq
from facedeploy.quantize.samples import CalibrationSet, calibration_set, refuse_evaluation_images

SIDE = 192
OPS = (
    DecodeImage("DecodeImage"),
    CvtColor("CvtColor", "COLOR_RGB2BGR"),
    Resize("Resize", (SIDE, -1), "long"),
    Pad("Pad", pad_to_square=True),
    Normalize("Normalize", div255=False, mean=(104.0, 117.0, 123.0), std=(1.0, 1.0, 1.0)),
    ToTensor("ToTensor"),
)


@pytest.fixture(scope="module")
def net(shared_data, tmp_path_factory) -> onnx.ModelProto:
    checkpoint = shared_data / "weights/mobilenet0.25_Final.pth"
    if not checkpoint.is_file():
        pytest.skip(f"no checkpoint at {checkpoint}")
    spec = MODELS["mobilenet0.25"]
    folder = tmp_path_factory.mktemp("net")
    report = export_model(spec, (SIDE, SIDE), weights=load_checkpoint(checkpoint, spec), output_dir=folder)
    return onnx.load(report.onnx.path)


@pytest.fixture(scope="module")
def samples(shared_data) -> CalibrationSet:
    folder = shared_data / "data/wider_calib"
    if not folder.is_dir():
        pytest.skip(f"no images at {folder}")
    return calibration_set(Dataset(OPS, path=str(folder), sampler=Sampler("jpg", 50)))


@pytest.fixture(scope="module")
def unseen(shared_data) -> CalibrationSet:
    folder = shared_data / "data/wider_val_dev"
    if not folder.is_dir():
        pytest.skip(f"no images at {folder}")
    return CalibrationSet(tuple(list_images(folder)[::50]), OPS)


def signal_to_noise(net, quantized, images, run):
    """Of the encoded boxes and of the log-odds of a face, in dB over all images."""
    power = np.zeros((2, 2))
    for index in range(len(images)):
        image = images[index][None]
        heads = [(found["loc"], log_odds(found["conf"])) for found in (run(net, image), run(quantized, image))]
        for head, (exact, got) in enumerate(zip(*heads, strict=True)):
            power[head] += (exact**2).sum(), ((got - exact) ** 2).sum()
    return 10 * np.log10(power[:, 0] / power[:, 1])


def log_odds(conf):
    return np.log(np.maximum(conf[..., 1], 1e-6) / np.maximum(conf[..., 0], 1e-6))


def test_integers_hardly_move_the_heads_and_less_than_without_channels(net, samples, unseen, run, tmp_path):
    refuse_evaluation_images(samples, unseen.files)
    found = {}
    for per_channel in (True, False):
        options = QuantizeOptions(quantize_per_channel=per_channel)
        table = calibrated(net, samples, options, tmp_path)
        quantized = insert_qdq(net, table, options, normalization_of(OPS))
        onnx.checker.check_model(quantized)
        found[per_channel] = signal_to_noise(net, quantized, unseen, run)
    assert (found[True] > (22, 35)).all(), found
    assert (found[True] > found[False] + 3).all(), found
