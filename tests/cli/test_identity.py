"""However many instances, processes, threads and images a call, by whichever path: the same detections, bit for bit."""

import itertools

import cv2
import numpy as np
import pytest

from facedeploy.core.detections import Detections
from facedeploy.npz.files import read_slots_npz
from facedeploy.runtime.detector import build_detector
from facedeploy.runtime.face_detector import FaceDetector
from facedeploy.runtime.threads import threads_of_call
from facedeploy.widerface.prediction_files import write_predictions

BATCHES = (1, 2, 4)
INSTANCES = (1, 2, 3, 4)


@pytest.fixture(scope="module")
def artifacts(tiny_artifact, compile_tiny):
    """The same net for each batch."""
    return {1: tiny_artifact.prefix} | {batch: compile_tiny(batch).prefix for batch in BATCHES[1:]}


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Seven pictures of several sizes, which fill no whole number of batches of 2 or 4."""
    random = np.random.default_rng(5)
    folder = tmp_path_factory.mktemp("images")
    for index, hw in enumerate([(150, 200), (97, 131), (300, 111), (64, 640), (96, 128), (33, 17), (500, 400)]):
        image = cv2.resize(random.integers(0, 256, (12, 16, 3), np.uint8), hw[::-1], interpolation=cv2.INTER_CUBIC)
        event = folder / "images" / f"event{index % 2}"
        event.mkdir(parents=True, exist_ok=True)
        (event / f"{index}.png").write_bytes(cv2.imencode(".png", image)[1].tobytes())
    return folder


@pytest.fixture(scope="module")
def files(images):
    return sorted(images.rglob("*.png"))


@pytest.fixture(scope="module")
def expected(artifacts, files):
    """One image after the other through one instance of batch 1."""
    detector = FaceDetector.from_artifact(artifacts[1], threads=1)
    found = [detector.detect(path) for path in files]
    assert min(map(len, found)) > 5
    return found


@pytest.fixture(scope="module")
def texts(expected, files, images, tmp_path_factory):
    """The prediction files of that."""
    folder = tmp_path_factory.mktemp("expected")
    for path, detections in zip(files, expected, strict=True):
        name = path.relative_to(images / "images").with_suffix("").as_posix()
        write_predictions(folder / f"{name}.txt", name, detections)
    return tree(folder)


def tree(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.txt")}


def bits(detections):
    return [part.tobytes() for part in (detections.boxes, detections.scores, detections.landmarks)]


@pytest.mark.parametrize(("batch", "instances"), itertools.product(BATCHES, INSTANCES))
def test_run_writes_the_same_bytes(command, artifacts, images, texts, tmp_path, batch, instances):
    words = ["--file_path", images, "--model_prefix_path", artifacts[batch], "--batch", batch, "--instances", instances]
    for decoders, threads in ((1, 1), (2, threads_of_call(None))):
        out = tmp_path / str(decoders)
        options = ["--decoders", decoders, "--threads", threads, "--save_dir", out]
        assert command("run", *words, *options)[0] == 0
        assert tree(out) == texts


@pytest.mark.parametrize("batch", BATCHES)
def test_npz_files_decode_to_the_same_bytes(command, artifacts, images, files, texts, tmp_path, batch):
    npz, datalist = tmp_path / "npz", tmp_path / "npz.txt"
    assert command("image2npz", "--dataset_path", images, "--target_path", npz, "--text_path", datalist)[0] == 0
    slots = []
    for instances, processes in itertools.product(INSTANCES, (1, 2)):
        out = tmp_path / f"out_{instances}_{processes}"
        words = ["-m", artifacts[batch], "-i", instances, "-p", processes, "-b", batch]
        assert command("perf", *words, "--datalist", datalist, "--path_output", out)[0] == 0
        slots.append([part.tobytes() for path in sorted(out.rglob("*.npz")) for part in read_slots_npz(path)])
        assert len(slots[-1]) == 3 * len(files)
        assert slots[-1] == slots[0]
    words = ["--input_image_dir", images, "--model_size", 96, 128, "--vamp_datalist_path", datalist]
    assert command("npz-decode", "--txt", tmp_path / "txt", *words, "--vamp_output_dir", out)[0] == 0
    assert tree(tmp_path / "txt") == texts


@pytest.mark.parametrize(("batch", "instances"), itertools.product(BATCHES, INSTANCES))
def test_streams_yield_the_same_bits(artifacts, files, expected, batch, instances):
    detector = FaceDetector.from_artifact(artifacts[batch], instances=instances, decoders=2)
    for stream in (detector.run_async, detector.run_sync):
        found = [work.detections for work in stream(files)]
        assert list(map(bits, found)) == list(map(bits, expected))


@pytest.mark.parametrize("batch", BATCHES)
def test_detectors_of_applications_return_the_same_bits(artifacts, files, expected, batch):
    nms = FaceDetector.from_artifact(artifacts[1]).nms
    detector = build_detector(artifacts[batch], nms.confidence_threshold, nms.nms_threshold)
    images = [cv2.imread(str(path))[:, :, ::-1] for path in files]
    together = detector.batched_detect_with_landmarks(images)
    alone = [detector.batched_detect_with_landmarks([image]) for image in images]
    for index, image in enumerate(images):
        rows, landmarks = together[0][index], together[1][index]
        assert bits(Detections(rows[:, :4], rows[:, 4], landmarks)) == bits(expected[index])
        assert alone[index][0][0].tobytes() == rows.tobytes() == detector.detect(image).tobytes()
        assert alone[index][1][0].tobytes() == landmarks.tobytes()
