"""The formats that the product reads, each with valid files and with its public reader."""

import io
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from judge import Format, Reader
from model_formats import model_formats
from mutations import BYTES, TEXT, TREE, mutate

from facedeploy.artifact.store import open_artifact
from facedeploy.cli.journal import open_journal
from facedeploy.cli.run_identity import run_identity
from facedeploy.compiler.tuning.choices_file import ChoicesFile, Measured
from facedeploy.config.build_config import QuantizeOptions, notes
from facedeploy.config.load import load_build_config
from facedeploy.config.vdsp_params import load_vdsp_params
from facedeploy.core.errors import ImageError
from facedeploy.fddb.folds import read_ellipses, read_names
from facedeploy.fddb.results import read_results
from facedeploy.image.dataset import ImageFile, find_images
from facedeploy.image.decode import read_image
from facedeploy.image.vdsp import normalization_from_vdsp
from facedeploy.npz.datalist import read_datalist
from facedeploy.npz.files import read_image_npz, read_slots_npz
from facedeploy.quantize import cache
from facedeploy.quantize.calibration import Calibration, TensorRange
from facedeploy.quantize.moments import Moments
from facedeploy.runtime.face_detector import FaceDetector
from facedeploy.widerface.evaluate import evaluate
from facedeploy.widerface.ground_truth import GROUND_TRUTH_FILES, write_ground_truth


def all_formats(folder: Path, prefix: Path, repository: Path) -> dict[str, Format]:
    """Every format, by name, its files in `folder`; `prefix` is that of an artifact of the tests or one of your own."""
    configs = tuple(path.read_bytes() for path in sorted((repository / "build_in/build").glob("*.yaml")))
    jsons = tuple(path.read_bytes() for path in sorted((repository / "vdsp_params").glob("*.json")))
    formats = (
        Format("build YAML", folder / "build.yaml", configs, _build_config),
        Format("--set", folder / "words", OVERRIDES, _overrides(repository), TEXT, "--set"),
        Format("vdsp JSON", folder / "vdsp.json", jsons, _vdsp_params),
        _manifest(folder / "artifact", prefix),
        _journal(folder / "run", prefix),
        _tuning(folder),
        _ranges(folder),
        *_widerface(folder / "widerface"),
        Format(
            "image list",
            folder / "images.txt",
            (b"a/1.jpg\na/2.jpg\nb/1.png\n", "ü/é 1.jpg\nx.tif\n".encode()),
            _images,
            TEXT,
        ),
        Format(
            "npz list",
            folder / "npz.txt",
            (b"out/a/1.npz\nout/a/2.npz\n", b"/x/1.npz\r\n/y/1.npz\r\n"),
            read_datalist,
            TEXT,
        ),
        *_npz(folder),
        *_fddb(folder / "fddb"),
        *model_formats(folder / "models", repository),
    )
    return {each.name: each for each in formats}


OVERRIDES = (
    b"frontend.checkpoint=model.onnx", b"dataset.path=../images", b"backend.dtype=fp16", b"backend.tune=true",
    b"backend.quantize={calibrate_mode: minmax, skip_conv_layers: [0, 1, 'a*']}",
    b"frontend.shape={input: [2, 3, 640, 640]}",
    b"graph.extra_ops.params.anchor=[16, 32, 64, 128, 256, 512]", b"dataset.process_ops.2.size=[640, 640]",
)  # fmt: skip


def _build_config(path: Path) -> None:
    config = load_build_config(path)
    notes(config)
    if config.graph:
        config.graph.extra_ops.params.nms_params()
        config.graph.extra_ops.params.spec()


def _overrides(repository: Path) -> Reader:
    def read(path: Path) -> None:
        load_build_config(
            repository / "build_in/build/mobilenet0.25_int8.yaml", [path.read_bytes().decode(errors="replace")]
        )

    return read


def _vdsp_params(path: Path) -> None:
    normalization_from_vdsp(load_vdsp_params(path))


def _manifest(folder: Path, prefix: Path) -> Format:
    folder.mkdir()
    for name in ("mod.so", "mod.params"):
        (folder / name).symlink_to(prefix.with_name(name))
    image = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
    json_path = folder / "mod.json"

    def read(path: Path) -> None:
        open_artifact(path)
        FaceDetector.from_artifact(path.with_name("mod")).detect(image)

    return Format("mod.json", json_path, (prefix.with_name("mod.json").read_bytes(),), read, named=str(folder))


def _journal(folder: Path, prefix: Path) -> Format:
    folder.mkdir()
    names = [f"{event}/{image}" for event in ("0--Parade", "ü--Gruppe") for image in range(4)]
    images = [ImageFile(name, Path("images", f"{name}.jpg")) for name in names]
    identity = run_identity(FaceDetector.from_artifact(prefix), images, ignore_exif=False, draw_threshold=None)
    path = folder / "run.journal"
    with open_journal(folder, identity, names, resume=False) as journal:
        for name in names[:6]:
            journal.add(name)

    def read(path: Path) -> None:
        with open_journal(path.parent, identity, names, resume=True):
            pass

    return Format("run.journal", path, (path.read_bytes(),), read)


def _tuning(folder: Path) -> Format:
    path = folder / "tuning.json"
    file = ChoicesFile(path, "x86-64-v4 1 thread tvm 0.27.0 facedeploy 0.1.0")
    for width in (8, 16):
        specification = f"direct3x3 {width}x32x48 -> 16"
        file.add(specification, Measured("10 pixels x 2 blocks", {"10 pixels x 2 blocks": 1.5, "5 x 4": 2.25}))
    return Format("tuning.json", path, (path.read_bytes(),), lambda _: (file.find(specification), file.find("another")))


class _Anything:
    """A model and its calibration images, of which the cache wants the hashes only."""

    def SerializeToString(self, deterministic: bool) -> bytes:  # noqa: N802
        return b""

    def content_hash(self) -> str:
        return ""


def _ranges(folder: Path) -> Format:
    anything: Any = _Anything()
    found: list[Path] = []

    def calibrate(*words: Any, content_hash: str, **options: Any) -> Calibration:
        ranges = {"/body/Conv": TensorRange((-1.5, 0.0), (2.0, 0.25)), "input": TensorRange((-123.0,), (151.0,))}
        moments = {0: Moments(np.ones((1, 3), np.float32), np.ones((1, 3, 3), np.float32))}
        return Calibration("minmax", 2, content_hash, ranges, moments)

    def read(path: Path | None) -> None:
        with patch.object(cache, "calibrate", calibrate):
            cache.calibrated(anything, anything, QuantizeOptions(), folder)

    read(None)
    found.extend((folder / cache.FOLDER).iterdir())
    content = found[0].read_bytes()

    def odd(chance: random.Random) -> bytes:
        """The JSON inside mutated, in a file that is whole."""
        arrays = dict(np.load(io.BytesIO(content)))
        _, text = mutate(chance, str(arrays["json"]).encode(), TREE)
        arrays["json"] = np.array(text.decode(errors="replace"))
        file = io.BytesIO()
        np.savez(file, **arrays)
        return file.getvalue()

    return Format("range cache", found[0], (content, odd), read, BYTES)


def _widerface(folder: Path) -> list[Format]:
    boxes = {f"{event}/{image}": [[10.0, 20.0, 30.0, 40.0], [50.5, 60, 7, 8]] for event in "ab" for image in "123"}
    counted = {name: [0, 1] for name in boxes}
    truth, damaged, predictions, whole = (folder / name for name in ("truth", "damaged", "predictions", "whole"))
    for place in (truth, damaged):
        write_ground_truth(place, boxes, easy={}, medium=counted, hard=counted)
    lines = ("10 20 30 40 0.98765432", "50.5 60 7 8 0.5", "1e-05 -3 2.5 7.25 0.02")
    texts = [f"{name}\n{len(lines)}\n" + "\n".join(lines) + "\n" for name in boxes] + ["a/1\n0\n"]
    for name, text in zip(boxes, texts, strict=False):
        for place in (predictions, whole):
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            (place / f"{name}.txt").write_text(text)

    def odd(name: str) -> Callable[[random.Random], bytes]:
        return lambda chance: odd_mat(chance, truth / name)

    def load(path: Path) -> None:
        for name in GROUND_TRUTH_FILES:
            if name != path.name:
                (damaged / name).write_bytes((truth / name).read_bytes())
        evaluate(whole, damaged, allow_missing=True)

    return [
        Format("predictions", predictions / "a/1.txt", [text.encode() for text in texts],
               lambda _: evaluate(predictions, truth), TEXT),
        *(
            Format(name, damaged / name, ((truth / name).read_bytes(), odd(name)), load, BYTES, str(folder))
            for name in (GROUND_TRUTH_FILES[0], GROUND_TRUTH_FILES[-1])
        ),
    ]  # fmt: skip


def odd_mat(chance: random.Random, good: Path) -> bytes:
    """A whole .mat file with something else in one of its cells, or lists."""
    from scipy.io import loadmat, savemat

    content = {name: value for name, value in loadmat(good).items() if not name.startswith("__")}
    odd = [
        np.zeros((0, 0)), np.zeros((1, 1)), np.full((2, 4), np.nan), np.full((2, 4), 1e300), np.full((2, 1), 2**62),
        np.array(["x"]),
        np.array(["../.."]), np.array(["a\nb"]), np.array([["a", "b"]]), np.ones((2, 4)) * 1j, np.array([[True]]),
        {"a": 1.0}, np.array([[np.ones((2, 4)), "x"]], object), np.ones((2, 3, 4)), np.full((1, 1), -1, np.int8),
        np.array([2**64 - 1], np.uint64),
        np.array(["x" * 100_000]), np.full((2, 4), -5.0), np.full((2, 1), 1.5),
    ]  # fmt: skip
    name = chance.choice(list(content))
    where, place = content, name
    while (
        isinstance(where[place], np.ndarray)
        and where[place].dtype == object
        and where[place].size
        and chance.random() < 0.7
    ):
        where = where[place]
        place = tuple(chance.randrange(length) for length in where.shape)
    if chance.random() < 0.1 and where is content:
        del content[name]
    else:
        where[place] = chance.choice(odd)
    file = io.BytesIO()
    savemat(file, content, do_compression=chance.random() < 0.5)
    return file.getvalue()


def _npz(folder: Path) -> list[Format]:
    slots = {"output_0": np.zeros((1, 9, 1), np.float32), "output_1": np.zeros((1, 9, 4), np.float32)}
    slots["output_2"] = np.zeros((1, 9, 10), np.float32)
    image = {"input_0": np.zeros((3, 8, 9), np.uint8)}

    def saved(arrays: dict[str, np.ndarray]) -> bytes:
        file = io.BytesIO()
        np.savez(file, **arrays)
        return file.getvalue()

    return [
        Format("input npz", folder / "input.npz", (saved(image),), read_image_npz, BYTES),
        Format("output npz", folder / "output.npz", (saved(slots),), read_slots_npz, BYTES),
    ]


def _fddb(folder: Path) -> list[Format]:
    folder.mkdir()
    results = (
        b"2002/08/11/big/img_591\n2\n10 20 30 40 0.98765432\n-3 1e-05 7 8 0.5\nb\n0\n",
        b"a\r\n1\r\n1 2 3 4 5\r\n",
    )
    ellipses = (b"2002/08/11/big/img_591\n1\n123.583300 85.549500 1.265839 269.693400 161.781200  1\nb\n0\n",)
    lists = (b"2002/08/11/big/img_591\n2002/08/26/big/img_265\n",)
    return [
        Format("FDDB results", folder / "results.txt", results, read_results, TEXT),
        Format("FDDB ellipses", folder / "ellipses.txt", ellipses, lambda path: read_ellipses([path]), TEXT),
        Format("FDDB fold", folder / "fold.txt", lists, lambda path: read_names([path]), TEXT),
    ]


def _images(path: Path) -> None:
    """An image that is not there is its own error, in the report of a run."""
    for image in find_images(path).images:
        try:
            read_image(image.path)
        except ImageError:
            continue
