"""`facedeploy run` and build_in/vsx/python/vsx.py."""

import argparse
import gc
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from facedeploy.cli.options import (
    add_device,
    add_draw,
    add_shape,
    add_thresholds,
    draw_from,
    open_detector,
    scale,
    seconds,
    size_wh,
    workers,
)
from facedeploy.cli.statistics import add_statistics, new_meter, report_statistics
from facedeploy.cli.video import add_video, check_images, run_video
from facedeploy.image.dataset import IMAGE_SUFFIXES

if TYPE_CHECKING:
    from facedeploy.runtime.operator import Decode

DECODE_TIMEOUT = 20.0
AT_ONCE = 4  # Images that a stage takes, which spares a fifth of the CPU time beside the model and decoding.
AT_ONCE_BYTES = 1 << 26  # Of float input that they make: of 4K canvases, fewer images.
LEAST_TURNS = 8  # Of an instance: with fewer images, fewer at once, so that all instances have their share.

DESCRIPTION = """Stream images through an artifact and write WIDER FACE prediction files; or a video, frame by frame.

Each image's faces go to <save_dir>/<event>/<image>.txt, in px of the image: x y w h score, best first. An image that
cannot be read is reported, also in <save_dir>/failures.jsonl, and the run goes on; the exit code is then 1. What is
done stands in <save_dir>/run.journal: a run that was stopped, however that was, goes on with --resume.

Frames of a video file, or raw BGR frames off standard input, become JSON Lines, a frame a line, each as soon as it is
done: {"frame": n, "boxes": [[x1, y1, x2, y2], ...], "scores": [...], "landmarks": [[[x, y], ... five], ...]}, in px of
the frame, best first; n counts the input's frames from 0, dropped ones too. --format video or raw draws them instead.
GStreamer fills rows of BGR up to a multiple of 4 bytes, so ask it for a width that 4 divides.

  facedeploy run --file_path DIR --model_prefix_path deploy_weights/official_retinaface_fp32/mod --save_dir OUT
  facedeploy run --video party.mp4 --model_prefix_path .../mod --format video --output faces.mp4
  gst-launch-1.0 -q v4l2src ! videoconvert ! video/x-raw,format=BGR,width=640,height=480 ! fdsink |
    facedeploy run --stdin 640x480 --drop late --model_prefix_path .../mod
  ... | facedeploy run --stdin 640x480 --scale 0.4 --model_prefix_path .../mod
  ffmpeg -loglevel error -i party.mp4 -f rawvideo -pix_fmt bgr24 -s 640x480 - |
    facedeploy run --stdin 640x480 --model_prefix_path .../mod --output faces.jsonl"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add = parser.add_argument
    source = parser.add_mutually_exclusive_group(required=True).add_argument
    source(
        "--file_path",
        type=Path,
        help="an image, a folder (flat or WIDER FACE's tree) with images in it or below "
        f"({', '.join(sorted(IMAGE_SUFFIXES))}), or a list",
    )
    source("--stdin", type=size_wh, metavar="WIDTHxHEIGHT", help="raw BGR frames off standard input, without gaps")
    source("--video", type=Path, metavar="FILE", help="a video file that OpenCV can read")
    add("--model_prefix_path", required=True, type=Path, help="the artifact: .../mod")
    add("--vdsp_params_info", help="vdsp JSON (default: what the artifact was built for)")
    add("--save_dir", type=Path, help="with --file_path: where the prediction files go")
    add_device(parser)
    add_shape(parser)
    add(
        "--scale",
        type=scale,
        metavar="S",
        help="see images at S times their size, 0.1 to 2, on the smallest of the artifact's canvases that has room "
        "(default: fit them to the canvas); vamc compile --scales makes such canvases",
    )
    add_draw(parser)
    add(
        "--instances",
        type=workers,
        help="instances of the model (default: as many as the CPUs have room for; with --drop late 1, which answers "
        "soonest)",
    )
    add(
        "--decoders",
        type=workers,
        help="threads that decode images (default: those of the instances where there is one for each CPU, else as "
        "many as there are CPUs); threads of their own wait for slow files while the model runs",
    )
    add("--threads", type=workers, help="threads of one instance (default: the CPUs shared out)")
    add_thresholds(parser)
    add(
        "--resume",
        action="store_true",
        help="go on where the same run was stopped: images whose results are there are not done again, those that "
        "failed are tried again; without a journal in save_dir it starts from the beginning",
    )
    add("--ignore_exif", action="store_true", help="take pixels as they are stored, not upright as EXIF data says")
    add(
        "--isolate",  # Measured: 6 ms for photos of 0.9 megapixels that a thread decodes in 4 ms.
        action="store_true",
        help="decode in processes, as many as --decoders says: an image that crashes or hangs the decoder is one more "
        "that cannot be read; that costs half as much again as decoding does, which is why threads are the default",
    )
    add(
        "--decode_timeout",
        type=seconds,
        metavar="SECONDS",
        help=f"with --isolate: longest that an image may take (default {DECODE_TIMEOUT:g})",
    )
    add_statistics(parser)
    add_video(parser)


def run(arguments: argparse.Namespace) -> int:
    """Stream, write, sum up."""
    from facedeploy.runtime.memory import keep_freed

    keep_freed()
    if arguments.file_path is None:
        return run_video(arguments)
    check_images(arguments)
    return _run_images(arguments)


def _run_images(arguments: argparse.Namespace) -> int:
    from tqdm import tqdm

    from facedeploy.cli.failures import REPORT, Failure, report_failures, write_failures
    from facedeploy.cli.journal import JOURNAL, open_journal
    from facedeploy.cli.run_identity import run_identity
    from facedeploy.cli.writer import PredictionWriter
    from facedeploy.core.cores import available_cores
    from facedeploy.core.errors import ConfigError
    from facedeploy.image.dataset import find_images
    from facedeploy.runtime.graph import Stage
    from facedeploy.runtime.operator import Work

    if arguments.decode_timeout is not None and not arguments.isolate:
        raise ConfigError("--decode_timeout needs --isolate: only a process can be stopped while it decodes")
    found = find_images(arguments.file_path)
    images, total = found.images, len(found.images) + len(found.refused)
    draw_threshold = draw_from(arguments)
    writer = PredictionWriter(arguments.save_dir, draw_threshold)
    writer.refuse_overwriting(images)
    writer.refuse_among_images(found.root)
    names = {image.name for image in images}
    writer.refuse_folders_for_files(names, (JOURNAL, REPORT))
    processes = arguments.decoders or available_cores()
    decoders = processes if arguments.isolate else arguments.decoders  # A thread waits for each process.
    detector = open_detector(
        arguments,
        arguments.model_prefix_path,
        arguments.vdsp_params_info,
        decoders=decoders,
        scale=arguments.scale,
    )
    identity = run_identity(detector, images, ignore_exif=arguments.ignore_exif, draw_threshold=draw_threshold)
    failures, faces = [Failure.of(image.name, image.path, error) for image, error in found.refused], 0
    gc.freeze()  # What is there stays: looking through it again and again would take a millisecond an image.
    with (
        open_journal(arguments.save_dir, identity, names, arguments.resume) as journal,
        _decode(arguments, processes) as decoding,
    ):
        writer.remove_partial(names)
        write_failures(arguments.save_dir, [])  # An earlier run's must not be taken for this one's.
        left = [image for image in images if not (image.name in journal.done and writer.wrote(image.name))]
        earlier = len(images) - len(left)
        paths = {image.name: image.path for image in left}
        started = time.monotonic()
        works = (Work(image.name, image.path) for image in left)
        writing = replace(writer, wrote_all=journal.add)
        meter, then = new_meter(arguments, decoding.cpu_seconds), (Stage("write", [writing], joined=True),)
        instances = detector.instances
        fitting = AT_ONCE_BYTES // instances[0][0].rung.input.bytes
        at_once = max(1, min(AT_ONCE, fitting, len(left) // (LEAST_TURNS * len(instances))))
        stream = detector.run_async(
            works, then=then, at_once=at_once, decode=decoding.decode, meter=meter, cancel=decoding.cancel
        )
        with closing(stream) as done:
            for work in tqdm(done, total=len(images), initial=earlier, unit="image", disable=None):
                if work.error is not None:
                    failures.append(Failure.of(work.name, paths[work.name], work.error))
                elif work.detections is not None:
                    faces += len(work.detections)
        took = time.monotonic() - started
        write_failures(arguments.save_dir, failures)
        failed = {failure.name for failure in failures}
        journal.finish(image.name for image in images if image.name not in failed)
    count = total - earlier - len(failures)
    print(
        f"{count} images, {faces} boxes, {took:.1f} s, {count / took:.1f} images/s; "
        f"written to {arguments.save_dir}" + (f"; {earlier} images were done before" if earlier else "")
    )
    report_statistics(arguments, meter)
    return report_failures(failures, total)


@dataclass(frozen=True)
class _Decoding:
    """The first stage; what ends the processes that it may have, when their results are not wanted; their CPU time."""

    decode: "Decode"
    cancel: Callable[[], None] = lambda: None
    cpu_seconds: Callable[[], float] = lambda: 0.0


@contextmanager
def _decode(arguments: argparse.Namespace, processes: int) -> Iterator[_Decoding]:
    """The first stage, with the processes that it may need."""
    from facedeploy.image.decode import read_image
    from facedeploy.runtime.operator import Decode

    if not arguments.isolate:
        yield _Decoding(Decode(partial(read_image, ignore_exif=arguments.ignore_exif)))
        return
    from facedeploy.image.isolated import IsolatedDecoders

    timeout = arguments.decode_timeout or DECODE_TIMEOUT
    with IsolatedDecoders(processes, timeout, arguments.ignore_exif) as isolated:
        yield _Decoding(Decode(isolated.read), isolated.cancel, isolated.cpu_seconds)
