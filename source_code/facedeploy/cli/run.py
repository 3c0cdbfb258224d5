"""`facedeploy run` and build_in/vsx/python/vsx.py."""

import argparse
import time
from pathlib import Path

from facedeploy.cli.options import add_device, add_draw, add_thresholds, open_detector, positive, workers

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
    add_draw(parser)
    add("--instances", type=workers, default=1, help="instances of the model (default %(default)s)")
    add("--decoders", type=workers, default=1, help="threads that decode images (default %(default)s)")
    add("--threads", type=workers, help="threads of one instance (default: the CPUs shared out)")
    add_thresholds(parser)


def run(arguments: argparse.Namespace) -> int:
    """Stream, write, sum up."""
    from tqdm import tqdm

    from facedeploy.cli.failures import report_failures
    from facedeploy.cli.writer import PredictionWriter
    from facedeploy.image.dataset import list_images
    from facedeploy.runtime.graph import Stage
    from facedeploy.runtime.operator import Work

    images = list_images(arguments.file_path)
    writer = PredictionWriter(arguments.save_dir, arguments.draw_threshold if arguments.draw else None)
    writer.refuse_overwriting(images)
    detector = open_detector(
        arguments, arguments.model_prefix_path, arguments.vdsp_params_info, decoders=arguments.decoders
    )
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
        f"written to {arguments.save_dir}"
    )
    return report_failures(failures, len(images))
