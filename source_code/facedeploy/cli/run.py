"""`facedeploy run` and build_in/vsx/python/vsx.py."""

import argparse
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from facedeploy.cli.options import add_device, add_thresholds, positive

if TYPE_CHECKING:
    from facedeploy.config.vdsp_params import VdspParams

DESCRIPTION = """Stream images through an artifact and write WIDER FACE prediction files.

Each image's faces go to <save_dir>/<event>/<image>.txt, in px of the image: x y w h score, best first. An image that
cannot be read is reported, and the run goes on; the exit code is then 1."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add = parser.add_argument
    add("--file_path", required=True, type=Path, help="an image, a folder (flat or WIDER FACE's tree), or a list")
    add("--model_prefix_path", required=True, type=Path, help="the artifact: .../mod")
    add("--vdsp_params_info", help="vdsp JSON (default: what the artifact was built for)")
    add("--save_dir", required=True, type=Path, help="where the prediction files go")
    add_device(parser)
    add("--batch", type=positive, help="images a call; the artifact must hold that batch")
    add("--draw", action="store_true", help="write pictures with boxes and landmarks beside the prediction files")
    add("--draw_threshold", type=float, default=0.5, help="draw faces with at least this score (default %(default)s)")
    add("--instances", type=positive, default=1, help="instances of the model (default %(default)s)")
    add("--decoders", type=positive, default=1, help="threads that decode images (default %(default)s)")
    add("--threads", type=positive, help="threads of one instance (default: the CPUs shared out)")
    add_thresholds(parser)


def run(arguments: argparse.Namespace) -> int:
    """Stream, write, sum up."""
    from tqdm import tqdm

    from facedeploy.cli.failures import report_failures
    from facedeploy.cli.writer import PredictionWriter
    from facedeploy.image.dataset import list_images
    from facedeploy.runtime.face_detector import FaceDetector
    from facedeploy.runtime.graph import Stage
    from facedeploy.runtime.operator import Work

    images = list_images(arguments.file_path)
    detector = FaceDetector.from_artifact(
        arguments.model_prefix_path,
        load_vdsp(arguments.vdsp_params_info),
        confidence_threshold=arguments.confidence_threshold,
        nms_threshold=arguments.nms_threshold,
        max_detections=arguments.max_detections,
        instances=arguments.instances,
        decoders=arguments.decoders,
        threads=arguments.threads,
        device=arguments.device,
    )
    check_batch(arguments.batch, detector.batch, arguments.model_prefix_path)
    if detector.note:
        print(detector.note)
    writer = PredictionWriter(arguments.save_dir, arguments.draw_threshold if arguments.draw else None)
    failures, faces = [], 0
    started = time.monotonic()
    works = (Work(image.name, image.path) for image in images)
    done = detector.run_async(works, then=(Stage("write", [writer]),))
    for work in tqdm(done, total=len(images), unit="image", disable=None):
        if work.error is not None:
            failures.append(str(work.error))
        elif work.detections is not None:
            faces += len(work.detections)
    seconds = time.monotonic() - started
    written = len(images) - len(failures)
    print(
        f"{written} images, {faces} boxes, {seconds:.1f} s, {len(images) / seconds:.1f} images/s; "
        f"written to {os.fspath(arguments.save_dir)}"
    )
    return report_failures(failures, len(images))


def load_vdsp(path: str | None) -> "VdspParams | None":
    """The vdsp JSON named on a command line, a shipped one if there is no such file."""
    if path is None:
        return None
    from facedeploy.config.shipped import find_config
    from facedeploy.config.vdsp_params import load_vdsp_params

    found = find_config(path)
    if found.shipped:
        print(f"{path} is not under the current directory; using the shipped {found.path}")
    return load_vdsp_params(found.path)


def check_batch(asked: int | None, held: int, prefix: Path) -> None:
    """Raise ShapeError unless the artifact holds the batch asked for."""
    from facedeploy.core.errors import ShapeError

    if asked is not None and asked != held:
        raise ShapeError(f"--batch: got {asked}, {prefix} holds {held}; frontend.shape of the build config decides")
