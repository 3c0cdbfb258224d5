import json
import os
import re
import resource
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest

from facedeploy.cli.main import main

NOTES = re.compile(r"^the vdsp JSON normalizes as .*: the JSON is followed$|; using the shipped /\S+$")
# Event/image: the names that are easy to get wrong.
NAMES = ["0--Parade/a b", "0--Parade/a.b", "0--Parade/same", "1--Handshaking/same", "ü--Gruppe/é", "top"]


def write_photo(path, seed):
    """A picture of a size and content of its own."""
    random = np.random.default_rng(seed)
    hw = (60 + 17 * seed, 190 - 23 * seed)
    image = cv2.resize(random.integers(0, 256, (8, 8, 3), np.uint8), hw[::-1], interpolation=cv2.INTER_CUBIC)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(path.suffix, image)[1].tobytes())


@pytest.fixture
def new_photo():
    """Write a picture to a path, another one for another seed."""
    return write_photo


@pytest.fixture
def photos(tmp_path):
    """A dataset in WIDER FACE's form, in two formats."""
    for seed, name in enumerate(NAMES):
        write_photo(tmp_path / "photos" / "images" / f"{name}{('.jpg', '.PNG')[seed % 2]}", seed)
    return tmp_path / "photos"


@pytest.fixture
def run(command, photos, tiny_artifact, tmp_path):
    """`facedeploy run` on the photos, with more words."""

    def with_words(*words, how=command, file_path=photos, save_dir=tmp_path / "out"):
        model = tiny_artifact.prefix
        return how("run", "--file_path", file_path, "--model_prefix_path", model, "--save_dir", save_dir, *words)

    return with_words


@pytest.fixture
def other_json(tmp_path):
    """A vdsp JSON for the tiny net's canvas, with another order of channels and normalization than it was built for."""
    config = {
        "IimageFormat": "RGB_PLANAR", "ColorCvtCode": "NO_CHANGE", "OimageWidth": 128, "OimageHeight": 96,
        "ResizeType": "BILINEAR_CV", "NormaType": "EQUAL",
    }  # fmt: skip
    data = {"OpType": "FUSION_OP_RGB_LETTERBOX_CVTCOLOR_NORM_TENSOR", "OpConfig": config}
    path = tmp_path / "v.json"
    path.write_text(json.dumps(data))
    return path


@pytest.fixture
def int8_words(tiny_artifact, photos, tmp_path):
    """A command line for the tiny net in int8, calibrated on the .jpg photos, with other settings."""

    def make(verb, settings, *flags):
        settings = {
            "backend.dtype": "int8",
            "backend.quantize": "{}",
            "frontend.checkpoint": tiny_artifact.onnx,
            "dataset.path": photos,
            "dataset.sampler": "{suffix: jpg, get_data_num: 3}",
            "workspace.path": tmp_path / "workspace",
        } | settings
        options = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
        return verb, tiny_artifact.onnx.with_name("tiny.yaml"), *flags, *options

    return make


@pytest.fixture
def command(capsys):
    """Run a command line in this process; returns its exit code, output and error."""

    def run(*words):
        capsys.readouterr()
        try:
            code = main([str(word) for word in words])
        except SystemExit as ended:
            code = ended.code
        return (code, *capsys.readouterr())

    return run


@pytest.fixture
def refused(command):
    """Run a command line that must end with exit code 2 and one sentence on stderr, which is returned.

    What may stand before it is the usage, and notes that were due by then.
    """

    def run(*words):
        code, out, error = command(*words)
        assert code == 2, (out, error)
        assert "Traceback" not in error
        lines = [line for line in error.splitlines() if not NOTES.search(line)]
        sentences = [line for line in lines if ": error: " in line]
        assert len(sentences) == 1
        assert lines[-1] == sentences[0], "nothing follows the sentence"
        assert lines[0] == sentences[0] or lines[0].startswith("usage:")
        return sentences[0].partition(": error: ")[2]

    return run


@pytest.fixture
def full_disk():
    """A context in which files cannot grow past some bytes, as on a disk that is full."""

    @contextmanager
    def limit(size=64):
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    return limit


@pytest.fixture
def start(tmp_path):
    """Start a command in a process group of its own, in another folder than the repository."""
    started = []

    def popen(*words):
        process = subprocess.Popen(
            [str(word) for word in words],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
        started.append(process)
        return process

    yield popen
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, 9)
            process.wait()


@pytest.fixture
def vamp_script():
    """The words that start `vamp`: the console script, where the package is installed."""
    script = Path(sys.executable).with_name("vamp")
    return [script] if script.is_file() else [sys.executable, "-m", "facedeploy.cli.vamp"]
