"""`facedeploy run --stats`: where a run's time goes, and what to change."""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from facedeploy.runtime.meter import StreamMeter
    from facedeploy.runtime.statistics import StreamStatistics

FULL = 0.8  # Busy for this share of the time and more, a worker has no time to spare.
ADVICE = {
    "input": "images come no faster than that",
    "decode": "raise --decoders",
    "preprocess": "raise --instances; smaller images would help, too",
    "infer": "raise --instances, or --threads",
    "to source": "raise --instances; fewer detections would help, too (--confidence_threshold)",
    "annotate": "raise --instances; --format jsonl draws nothing",
    "write": "raise --instances; a faster disk would help, too, and to leave out --draw",
    "output": "whoever takes the results is slower than what makes them",
}


def add_statistics(parser: argparse.ArgumentParser) -> None:
    """`--stats` and `--stats_json`."""
    parser.add_argument(
        "--stats",
        action="store_true",
        help="print at the end, on standard error, what each stage did and which one the others waited for",
    )
    parser.add_argument("--stats_json", type=Path, metavar="FILE", help="write those figures there")


def new_meter(arguments: argparse.Namespace, cpu_elsewhere: Callable[[], float] = lambda: 0.0) -> "StreamMeter | None":
    """What measures a run, where the options ask for it; `cpu_elsewhere`: see `StreamMeter`."""
    from facedeploy.runtime.meter import StreamMeter

    return StreamMeter(cpu_elsewhere) if arguments.stats or arguments.stats_json else None


def report_statistics(arguments: argparse.Namespace, meter: "StreamMeter | None") -> None:
    """Print and write what was measured, as the options ask. Raises DataError when it cannot be written."""
    from facedeploy.core.files import write_text

    if meter is None:
        return
    statistics = meter.statistics()
    if arguments.stats:
        print("\n".join([*statistics.lines(), sentence(statistics)]), file=sys.stderr)
    if arguments.stats_json:
        write_text(arguments.stats_json, json.dumps(statistics.to_json(), indent=1) + "\n")


def sentence(statistics: "StreamStatistics") -> str:
    """Which stage the others waited for, and what to change."""
    stage = statistics.bottleneck
    if not stage.images:
        return "nothing was measured: there was no image"
    share, reason = f"{stage.busy_share:.0%}", ""
    if statistics.cpu_share >= FULL and stage.name != "input":
        reason = (
            f"the {statistics.cpus} CPUs had {statistics.cpu_share:.0%} of theirs taken: more workers would not help, "
            "less work would (an int8 artifact, a smaller canvas, smaller images)"
        )
    if stage.busy_share < FULL:
        reason = reason or "too few images were under way, or in all, to tell more"
        return f"no stage is the bottleneck: {stage.name} was busiest, {share} of the time; {reason}"
    whose = "its 1 worker was" if stage.workers == 1 else f"its {stage.workers} workers were"
    if stage in (statistics.stages[0], statistics.stages[-1]):  # What comes from outside, and goes there.
        whose = "it was"
    return f"{stage.name} is the bottleneck: {whose} busy {share} of the time; {reason or ADVICE[stage.name]}"
