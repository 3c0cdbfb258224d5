"""`facedeploy eval`: prediction files -> the three APs of WIDER FACE."""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

import facedeploy
from facedeploy.core.files import write_text

if TYPE_CHECKING:
    from facedeploy.widerface.evaluate import WiderResult

DESCRIPTION = """Average precision of WIDER FACE prediction files (easy, medium, hard).

  facedeploy eval -p workspace/predictions
  python common/eval/evaluation.py -p workspace/predictions -g common/eval/ground_truth"""

GROUND_TRUTH = Path("common/eval/ground_truth")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "-p", "--pred", type=Path, required=True, metavar="DIR", help="folder of <event>/<image>.txt prediction files"
    )
    parser.add_argument(
        "-g", "--gt", type=Path, metavar="DIR", help=f"folder of the four .mat files (default: {GROUND_TRUTH})"
    )
    parser.add_argument(
        "--allow-missing",
        action="store_true",
        help="count an image without a prediction file as one without detections",
    )
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the precision-recall curves (png, pdf, svg)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers too")


def run(arguments: argparse.Namespace) -> int:
    """Evaluate and print."""
    from facedeploy.cli.image_bar import image_bar
    from facedeploy.image.figure import check_plot
    from facedeploy.widerface.evaluate import evaluate
    from facedeploy.widerface.plot import plot_curves

    ground_truth = arguments.gt or default_ground_truth()
    if arguments.plot:
        check_plot(arguments.plot)
    with image_bar("evaluate") as (_, advance):
        result = evaluate(arguments.pred, ground_truth, allow_missing=arguments.allow_missing, on_image=advance)
    print("\n".join([*protocol(result, arguments.pred, ground_truth), *block(result)]))
    if arguments.json:
        write_text(arguments.json, json.dumps(numbers(result), indent=2) + "\n")
    if arguments.plot:
        plot_curves(result, arguments.plot)
    return 0


def default_ground_truth() -> Path:
    """The checkout's folder if it has .mat files, else the current directory's; without either, where they go."""
    checkout = Path(facedeploy.__file__).resolve().parents[2] / GROUND_TRUTH
    found = [folder for folder in (checkout, GROUND_TRUTH) if folder.is_dir() and any(folder.glob("*.mat"))]
    return found[0] if found else checkout if checkout.parent.is_dir() else GROUND_TRUTH


def protocol(result: "WiderResult", predictions: Path, ground_truth: Path) -> list[str]:
    """What was measured, a line each."""
    counted = ", ".join(f"{difficulty} {count}" for difficulty, count in result.faces.items())
    scores = "{:g} to {:g}".format(*result.score_range) if result.score_range else "none"
    return [
        f"ground truth: {ground_truth}: {result.images} images; faces that count: {counted}",
        f"prediction files: {predictions}: {result.images - result.missing} evaluated, {result.missing} missing, "
        f"{result.extra} extra",
        f"thresholds as found: scores {scores}, at most {result.most_boxes} boxes an image ({result.boxes} in all)",
        "matching: IoU >= 0.5, 1000 thresholds on the score normalized over all files",
        *(f"warning: {warning}" for warning in result.warnings),
    ]


def block(result: "WiderResult") -> list[str]:
    """The results, as the official evaluator prints them."""
    return [
        "==================== Results ====================",
        f"Easy   Val AP: {result.easy}",
        f"Medium Val AP: {result.medium}",
        f"Hard   Val AP: {result.hard}",
        "=================================================",
    ]


def numbers(result: "WiderResult") -> dict[str, object]:
    """What --json writes: everything but the curves."""
    return {name: value for name, value in vars(result).items() if name != "precision_recall"}
