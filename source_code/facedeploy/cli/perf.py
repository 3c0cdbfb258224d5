"""`facedeploy perf` and `vamp`."""

import argparse
import json
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from facedeploy.cli.options import (
    LONGEST_SIDE,
    add_device,
    add_shape,
    add_thresholds,
    load_vdsp,
    open_detector,
    opening,
    positive,
    workers,
)

if TYPE_CHECKING:
    from facedeploy.npz.datalist import NpzFile
    from facedeploy.perf.listed import Done
    from facedeploy.perf.report import PerfReport

DESCRIPTION = """Throughput and latency of an artifact on random or real images; with --datalist, npz files in and out.

  vamp -m deploy_weights/official_retinaface_fp32/mod --vdsp_params J.json -i 2 -p 2 -b 1
  vamp -m deploy_weights/official_retinaface_fp32/mod --rate 50 --iterations 1000 --file_path DIR
  vamp -m deploy_weights/x/mod --batches 1,4           (frontend.ladder of its config: [[4, 3, 640, 640]])
  vamp -m "deploy_weights/x_b{batch}/mod" --batches 1,2,4,8
  vamp -m deploy_weights/official_retinaface_fp32/mod --vdsp_params J.json --datalist L.txt --path_output OUT

Each instance runs batch after batch, as fast as it can (closed loop). With --rate, requests of a batch arrive evenly,
whether or not earlier ones are done (open loop): latency counts from a request's arrival, its wait for a free instance
included. The warm-up before lasts until calls take as long as one another."""

ITERATIONS = 100
MOST_FILES = 64  # Real images, which lie in memory decoded.
HIGHEST_RATE = 1e6  # Requests a second.


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add = parser.add_argument
    add("-m", "--model", "--model_prefix_path", dest="model", required=True, type=Path, help="the artifact: .../mod")
    add("--vdsp_params", help="vdsp JSON (default: what the artifact was built for)")
    add("-i", "--instances", type=workers, default=1, help="instances a process (default %(default)s)")
    add("-p", "--processes", type=workers, default=1, help="processes (default %(default)s); they share a --datalist")
    add_shape(parser, "-b")
    add_device(parser, "-d")
    add("-s", "--shape", type=image_shape, metavar="[3,H,W]", help="size of the random images (default: the canvas)")
    add("--file_path", type=Path, help=f"measure with these images in place of random ones ({MOST_FILES} at most)")
    add("--iterations", type=positive, help=f"batches an instance (default {ITERATIONS})")
    add("--rate", type=rate, metavar="R", help="open loop: R requests of a batch arrive a second, at all instances")
    add(
        "--batches",
        type=batch_sizes,
        metavar="1,2,...",
        help="measure each batch that the artifact holds, or -m with {batch} in it",
    )
    add("--threads", type=workers, help="threads of one instance (default: the CPUs shared out)")
    add("--json", type=Path, metavar="FILE", help="write the figures there too")
    add("--histogram", type=Path, metavar="FILE.png", help="draw a histogram of the latencies")
    add("--datalist", type=Path, help="run these npz files (one path a line) instead of random images")
    add("--path_output", type=Path, help="with --datalist: where the output npz files go")
    add_thresholds(parser)
    add("stray", nargs="*", action=_Stray, help=argparse.SUPPRESS)


def run(arguments: argparse.Namespace) -> int:
    """Measure, or run the list."""
    from facedeploy.core.errors import ConfigError

    if (arguments.datalist is None) != (arguments.path_output is None):
        raise ConfigError("--datalist and --path_output go together: which npz files, and where their outputs go")
    if arguments.datalist:
        for name in ("json", "histogram", "rate", "batches", "file_path"):
            if getattr(arguments, name) is not None:
                raise ConfigError(f"--{name} belongs to a measurement, and --datalist measures nothing: leave one out")
        return _run_datalist(arguments)
    if arguments.file_path and arguments.shape:
        raise ConfigError("--file_path brings images of their own size, --shape random ones: leave one out")
    if arguments.histogram and arguments.histogram.suffix.lower() != ".png":
        raise ConfigError(f"--histogram: got {arguments.histogram}, expected a name that ends with .png")
    if arguments.batches is None:
        return _measure(arguments)
    if arguments.batch or arguments.histogram:
        raise ConfigError("--batches measures several batches, -b and --histogram go with a single one: leave one out")
    return _measure_batches(arguments)


def _measure(arguments: argparse.Namespace) -> int:
    from facedeploy.image.draw import write_image
    from facedeploy.perf.histogram import draw_histogram

    report = _measurement(arguments)(arguments.model, batch=arguments.batch)
    if report.note:
        print(report.note, file=sys.stderr)
    print("\n".join(report.lines()))
    _write_json(arguments.json, report.to_json())
    if arguments.histogram:
        title = f"{arguments.model}: {len(report.samples_ms)} calls, batch {report.batch}"
        write_image(arguments.histogram, draw_histogram(report.samples_ms, title))
    return 0


def _measure_batches(arguments: argparse.Namespace) -> int:
    from facedeploy.perf.batches import batch_lines, prefixes_of

    prefixes = prefixes_of(str(arguments.model), arguments.batches)
    measure = _measurement(arguments)
    reports = {batch: measure(prefix, batch=batch) for batch, prefix in prefixes.items()}
    print("\n".join(batch_lines(reports)))
    _write_json(arguments.json, [report.to_json() for report in reports.values()])
    return 0


def _measurement(arguments: argparse.Namespace) -> "Callable[..., PerfReport]":
    """What measures a prefix and a batch as the options say; all that they name is read."""
    from facedeploy.image.dataset import list_images, spread_evenly
    from facedeploy.perf.measure import measure

    files: list[Path] = []
    if arguments.file_path:
        images = list_images(arguments.file_path)
        files = [images[index].path for index in spread_evenly(len(images), MOST_FILES)]
        print(f"{len(files)} of {len(images)} images of {arguments.file_path}, in turn")
    return partial(
        measure,
        params=load_vdsp(arguments.vdsp_params),
        confidence_threshold=arguments.confidence_threshold,
        nms_threshold=arguments.nms_threshold,
        max_detections=arguments.max_detections,
        canvas=arguments.canvas,
        source_hw=arguments.shape,
        files=files,
        rate=arguments.rate,
        processes=arguments.processes,
        instances=arguments.instances,
        iterations=arguments.iterations or ITERATIONS,
        threads=arguments.threads,
        device=arguments.device,
    )


def _write_json(path: Path | None, figures: Any) -> None:
    from facedeploy.core.files import write_text

    if path:
        write_text(path, json.dumps(figures, indent=1) + "\n")


def _run_datalist(arguments: argparse.Namespace) -> int:
    from tqdm import tqdm

    from facedeploy.cli.failures import report_failures
    from facedeploy.core.errors import ConfigError
    from facedeploy.npz.datalist import read_datalist

    if arguments.shape or arguments.iterations:  # The reference's own command lines have them.
        print("with --datalist each file runs once, at its own size: -s, --iterations do nothing", file=sys.stderr)
    if arguments.canvas == "nearest":
        raise ConfigError("--canvas nearest: npz files have boxes in px of the canvas, so all need the same one")
    entries = read_datalist(arguments.datalist)
    with _listed(arguments, entries) as done:
        errors = {number: error for number, error in tqdm(done, total=len(entries), unit="npz", disable=None) if error}
    print(f"{len(entries) - len(errors)} output npz files written to {arguments.path_output}")
    return report_failures([str(errors[number]) for number in sorted(errors)], len(entries))


@contextmanager
def _listed(arguments: argparse.Namespace, entries: "Sequence[NpzFile]") -> "Iterator[Iterator[Done]]":
    """Each file's place in the list, and why it has no output, when it is done."""
    from facedeploy.npz.stream import stream_npz
    from facedeploy.perf.listed import list_in_processes
    from facedeploy.perf.measure import threads_of_each

    if arguments.processes == 1:
        detector = open_detector(arguments, arguments.model, arguments.vdsp_params)
        with closing(stream_npz(detector, entries, arguments.path_output)) as works:
            yield enumerate(work.error for work in works)
        return
    count, instances = arguments.processes, arguments.instances
    threads = threads_of_each(arguments.model, arguments.threads, count, instances, arguments.device)
    detectors = partial(opening(arguments, arguments.model, arguments.vdsp_params), threads=threads)
    with list_in_processes(detectors, entries, arguments.path_output, count) as (note, done):
        if note:
            print(note, file=sys.stderr)
        yield done


def image_shape(text: str) -> tuple[int, int]:
    """`[3,H,W]` -> (H, W)."""
    match = re.fullmatch(r"\[?\s*3\s*,\s*([1-9][0-9]{0,4})\s*,\s*([1-9][0-9]{0,4})\s*\]?", text)
    if not match or max(map(int, match.groups())) > LONGEST_SIDE:
        raise argparse.ArgumentTypeError(
            f"got {text!r}, expected [3,H,W], such as [3,480,640], with sides of at most {LONGEST_SIDE} px"
        )
    return int(match.group(1)), int(match.group(2))


def rate(text: str) -> float:
    """Requests a second."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= HIGHEST_RATE:
        raise argparse.ArgumentTypeError(f"got {text!r}, expected requests a second, above 0, at most {HIGHEST_RATE:g}")
    return value


def batch_sizes(text: str) -> list[int]:
    """`1,2,4` -> [1, 2, 4]."""
    sizes = [positive(part.strip()) for part in text.split(",")]
    if len(set(sizes)) < len(sizes):
        raise argparse.ArgumentTypeError(f"got {text!r}, expected different whole numbers, such as 1,2,4")
    return sizes


class _Stray(argparse.Action):
    """What belongs to no option: the reference's own documents say `-i 2 p 2`."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        if not values:
            return
        words = " ".join(values)
        advice = "--help lists the options"
        if f"-{values[0]}" in parser._option_string_actions:
            advice = f"did you mean -{words}?"
        parser.error(f"got {words!r}, which belongs to no option: {advice}")
