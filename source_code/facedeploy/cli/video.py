"""`facedeploy run --stdin` and `--video`: frames through an artifact."""

import argparse
import contextlib
import gc
import os
import sys
import time
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING

from facedeploy.cli.failures import EXIT_SOME_FAILED
from facedeploy.cli.options import DRAW_THRESHOLD, open_detector
from facedeploy.cli.statistics import new_meter, report_statistics

if TYPE_CHECKING:
    from facedeploy.cli.frame_writer import Kind
    from facedeploy.video.raw_frames import RawFrames
    from facedeploy.video.video_file import VideoFile

PIPE_BYTES = 1 << 20  # The most that Linux grants anybody: a frame in a read or two, where 64 KiB would take 15.
FPS = 25.0  # Of a video that is written from frames that do not tell.


def add_video(parser: argparse.ArgumentParser) -> None:
    """What belongs to frames alone. Without defaults, so that one given beside images is seen."""
    add = parser.add_argument_group("frames (--stdin, --video)").add_argument
    add("--drop", choices=["never", "late"], help="late: with --stdin, drop frames that a newer one has overtaken")
    add("--format", choices=["jsonl", "video", "raw"], help="what to write (default jsonl); the last two are annotated")
    add("--output", type=Path, help="the file to write (default: standard output); --format video: an .mp4 or .avi")
    add("--fps", type=_fps, help=f"frames/s of --format video (default: the input's, {FPS:g} where it does not tell)")


def _fps(text: str) -> float:
    with contextlib.suppress(ValueError):
        if 0 < float(text) <= 1000:
            return float(text)
    raise argparse.ArgumentTypeError(f"got {text!r}, expected frames/s, more than 0, 1000 at most")


def check_images(arguments: argparse.Namespace) -> None:
    """Raise ConfigError where images come without a folder for results, or with an option that is for frames."""
    from facedeploy.core.errors import ConfigError

    for option in ("drop", "format", "output", "fps"):
        if getattr(arguments, option):
            raise ConfigError(
                f"--{option} is for frames (--stdin, --video), got --file_path: --save_dir takes its results"
            )
    if arguments.save_dir is None:
        raise ConfigError("--file_path needs --save_dir: the folder where the prediction files go")


def _check_frames(arguments: argparse.Namespace) -> None:
    """Raise ConfigError for options that are for images, or contradict each other."""
    from facedeploy.core.errors import ConfigError
    from facedeploy.video.video_file import CODECS

    source = "--stdin" if arguments.stdin else "--video"
    for option in ("save_dir", "draw", "decoders", "resume", "ignore_exif", "isolate", "decode_timeout"):
        if getattr(arguments, option):
            raise ConfigError(
                f"--{option} is for images (--file_path), got {source}: --format and --output say what to write"
            )
    suffix = arguments.output.suffix.lower() if arguments.output else None
    if arguments.format == "video" and suffix not in CODECS:
        given = f"--output {arguments.output}" if arguments.output else "no --output"
        raise ConfigError(f"--format video: got {given}, expected {' or '.join(f'*{known}' for known in CODECS)}")
    if arguments.output and arguments.output.exists() and not arguments.output.is_file():
        raise ConfigError(f"--output {arguments.output} is no file that could be replaced: name another")
    if arguments.fps and arguments.format != "video":
        raise ConfigError("--fps is for --format video alone")
    if arguments.draw_threshold is not None and arguments.format not in ("video", "raw"):
        raise ConfigError("--draw_threshold is for --format video or raw: JSON Lines have all faces")
    if arguments.video:
        if arguments.drop == "late":
            raise ConfigError("--drop late is for --stdin: a file waits until its frames are asked for")
        if arguments.output and arguments.output.resolve() == arguments.video.resolve():
            raise ConfigError(f"--output would overwrite {arguments.video}: name another file")


def run_video(arguments: argparse.Namespace) -> int:
    """Stream frames, write each in its turn, sum up on standard error."""
    for name, silent in (("OPENCV_LOG_LEVEL", "SILENT"), ("OPENCV_FFMPEG_LOGLEVEL", "-8")):
        os.environ.setdefault(name, silent)  # Our sentence says it.
    _check_frames(arguments)
    source = _open_source(arguments)

    from tqdm import tqdm

    from facedeploy.cli.frame_writer import Annotate, frame_writer
    from facedeploy.runtime.graph import Stage
    from facedeploy.runtime.operator import Work
    from facedeploy.video.newest import Newest

    if arguments.drop == "late" and arguments.instances is None:
        arguments.instances = 1  # Two frames side by side take longer than one after the other.
    detector = open_detector(
        arguments, arguments.model_prefix_path, arguments.vdsp_params_info, decoders=0, scale=arguments.scale
    )
    kind: Kind = arguments.format or "jsonl"
    threshold = DRAW_THRESHOLD if arguments.draw_threshold is None else arguments.draw_threshold
    late = Newest(source) if arguments.drop == "late" else None
    works = (Work(str(number), pixels) for number, pixels in (source if late is None else late))
    meter = new_meter(arguments)
    done = detector.run_async(
        works,
        meter=meter,
        then=[Stage("annotate", [Annotate(threshold)], joined=True)] if kind != "jsonl" else (),
        # What waits in a queue gets late as well: one a model, and one that is made ready for the next.
        depth=len(detector.instances) + 1 if late else None,
    )
    gc.freeze()  # What is there stays, and need not be looked through again and again.
    frames, boxes, interrupt = 0, 0, None
    started = time.monotonic()
    with frame_writer(kind, arguments.output, arguments.fps or source.fps or FPS) as write:
        try:
            for work in tqdm(done, unit="frame", disable=None if arguments.output else True):
                if work.error is not None:
                    raise work.error
                assert work.image is not None
                assert work.detections is not None
                write(int(work.name), work.image, work.detections)
                frames += 1
                boxes += len(work.detections)
        except KeyboardInterrupt as error:  # How a camera's run ends, or by SIGTERM: what is done is kept.
            interrupt = error
    seconds = time.monotonic() - started
    dropped = f", {late.dropped} dropped" if late is not None else ""
    print(f"{frames} frames{dropped}, {boxes} boxes, {seconds:.1f} s, {frames / seconds:.1f} frames/s", file=sys.stderr)
    report_statistics(arguments, meter)
    if interrupt is not None:
        raise interrupt
    if source.failure is not None:
        print(f"error: {source.failure}", file=sys.stderr)
        return EXIT_SOME_FAILED
    return 0


def _open_source(arguments: argparse.Namespace) -> "RawFrames | VideoFile":
    import fcntl

    from facedeploy.core.errors import DataError
    from facedeploy.video.raw_frames import RawFrames
    from facedeploy.video.video_file import VideoFile

    if arguments.video:
        return VideoFile(arguments.video)
    if sys.stdin is None or sys.stdin.isatty():
        raise DataError("--stdin: standard input is a terminal or closed, expected a pipe or a file of raw BGR frames")
    descriptor = sys.stdin.fileno()
    os.set_blocking(descriptor, True)  # Else a read that finds nothing would look like the end.
    with contextlib.suppress(AttributeError, OSError):  # Another system, or no pipe.
        fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    # Without Python's buffer: nothing is copied twice.
    return RawFrames(FileIO(descriptor, closefd=False), (arguments.stdin[1], arguments.stdin[0]))
