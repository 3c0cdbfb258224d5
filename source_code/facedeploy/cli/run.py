"""`facedeploy run` and build_in/vsx/python/vsx.py."""

import argparse
import time
from pathlib import Path

from facedeploy.cli.options import add_device, add_draw, add_thresholds, open_detector, positive, workers
from facedeploy.cli.video import add_video, check_images, frame_wh, run_video

DESCRIPTION = """Stream images through an artifact and write WIDER FACE prediction files; or a video, frame by frame.

Each image's faces go to <save_dir>/<event>/<image>.txt, in px of the image: x y w h score, best first. An image that
cannot be read is reported, and the run goes on; the exit code is then 1.

Frames of a video file, or raw BGR frames off standard input, become JSON Lines, a frame a line, each as soon as it is
done: {"frame": n, "boxes": [[x1, y1, x2, y2], ...], "scores": [...], "landmarks": [[[x, y], ... five], ...]}, in px of
the frame, best first; n counts the input's frames from 0, dropped ones too. --format video or raw draws them instead.
GStreamer fills rows of BGR up to a multiple of 4 bytes, so ask it for a width that 4 divides.

  facedeploy run --file_path DIR --model_prefix_path deploy_weights/official_retinaface_fp32/mod --save_dir OUT
  facedeploy run --video party.mp4 --model_prefix_path .../mod --format video --output faces.mp4
  gst-launch-1.0 -q v4l2src ! videoconvert ! video/x-raw,format=BGR,width=640,height=480 ! fdsink |
    facedeploy run --stdin 640x480 --drop late --model_prefix_path .../mod
  ffmpeg -loglevel error -i party.mp4 -f rawvideo -pix_fmt bgr24 -s 640x480 - |
    facedeploy run --stdin 640x480 --model_prefix_path .../mod --output faces.jsonl"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add = parser.add_argument
    source = parser.add_mutually_exclusive_group(required=True).add_argument
    source("--file_path", type=Path, help="an image, a folder (flat or WIDER FACE's tree), or a list")
    source("--stdin", type=frame_wh, metavar="WIDTHxHEIGHT", help="raw BGR frames off standard input, without gaps")
    source("--video", type=Path, metavar="FILE", help="a video file that OpenCV can read")
    add("--model_prefix_path", required=True, type=Path, help="the artifact: .../mod")
    add("--vdsp_params_info", help="vdsp JSON (default: what the artifact was built for)")
    add("--save_dir", type=Path, help="with --file_path: where the prediction files go")
    add_device(parser)
    add("--batch", type=positive, help="images a call; the artifact must hold that batch")
    add_draw(parser)
    add("--instances", type=workers, default=1, help="instances of the model (default %(default)s)")
    add("--decoders", type=workers, help="threads that decode images (default 1)")
    add("--threads", type=workers, help="threads of one instance (default: the CPUs shared out)")
    add_thresholds(parser)
    add_video(parser)


def run(arguments: argparse.Namespace) -> int:
    """Stream, write, sum up."""
    if arguments.file_path is None:
        return run_video(arguments)
    check_images(arguments)
    return _run_images(arguments)


def _run_images(arguments: argparse.Namespace) -> int:
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
        arguments, arguments.model_prefix_path, arguments.vdsp_params_info, decoders=arguments.decoders or 1
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
