"""`facedeploy eval-fddb`."""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from facedeploy.fddb.evaluate import FddbResult, Roc

DESCRIPTION = """The ROC of FDDB: true positive rate over false positives, discrete and continuous score.

  facedeploy eval-fddb -p results.txt -g FDDB-folds --images originalPics --plot roc.png

Boxes and elliptic faces are matched one to one so that the sum of their IoUs is largest. The discrete score counts
matches of an IoU above 0.5, the continuous one sums the IoUs. Areas are exact, where FDDB's own program counts pixels:
expect the last digits to differ from its figures."""

FALSE_POSITIVES = (100, 500, 1000, 2000)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add = parser.add_argument
    add(
        "-p",
        "--pred",
        required=True,
        type=Path,
        metavar="FILE",
        help="results in FDDB's form (facedeploy fddb-results writes them), or a folder of <image>.txt",
    )
    add(
        "-g",
        "--gt",
        required=True,
        type=Path,
        nargs="+",
        metavar="LIST",
        help="ellipse lists (FDDB-fold-01-ellipseList.txt ...), or the folder FDDB-folds",
    )
    add(
        "--images",
        type=Path,
        metavar="DIR",
        help="the folder above 2002/: cut faces and boxes at the borders of each image, as FDDB's program does "
        "(default: they are not cut)",
    )
    add("--allow-missing", action="store_true", help="count an image without predictions as one without detections")
    add("--plot", type=Path, metavar="FILE", help="draw the curves (png, pdf, svg)")
    add("--json", type=Path, metavar="FILE", help="write the numbers too")
    add("--csv", type=Path, metavar="FILE", help="write the curves: threshold, false positives, both rates, a line")


def run(arguments: argparse.Namespace) -> int:
    """Evaluate and print."""
    from facedeploy.cli.image_bar import image_bar
    from facedeploy.core.files import write_text
    from facedeploy.core.table import aligned
    from facedeploy.fddb.evaluate import evaluate
    from facedeploy.fddb.plot import plot_roc
    from facedeploy.image.figure import check_plot

    if arguments.plot:
        check_plot(arguments.plot)
    with image_bar("evaluate") as (_, advance):
        result = evaluate(
            arguments.pred,
            arguments.gt,
            images=arguments.images,
            allow_missing=arguments.allow_missing,
            on_image=advance,
        )
    print("\n".join([*protocol(result, arguments.images), *aligned(rates(result.roc))]))
    if arguments.json:
        write_text(arguments.json, json.dumps(numbers(result), indent=2) + "\n")
    if arguments.csv:
        write_text(arguments.csv, csv_text(result.roc))
    if arguments.plot:
        plot_roc(result, arguments.plot)
    return 0


def protocol(result: "FddbResult", images: Path | None) -> list[str]:
    """What was measured, a line each."""
    cut = "cut at the borders of the images" if images else "not cut at the borders of the images (--images)"
    return [
        f"ground truth: {result.images} images, {result.faces} faces, {cut}",
        f"results: {result.boxes} boxes, {result.missing} images missing, {result.extra} extra; the curve ends at "
        f"{last_false_positives(result.roc)} false positives",
        "matching: one to one, largest sum of IoUs; discrete: IoU > 0.5",
        *(f"warning: {warning}" for warning in result.warnings),
    ]


def rates(roc: "Roc") -> list[tuple[str, str, str]]:
    """The table: true positive rates with no more than so many false positives."""
    found = ((count, *roc.at(count)) for count in FALSE_POSITIVES)
    rows = [(f"{count}", f"{discrete:.4f}", f"{continuous:.4f}") for count, discrete, continuous in found]
    return [("false positives", "discrete", "continuous"), *rows]


def last_false_positives(roc: "Roc") -> int:
    """Those at the lowest threshold."""
    return int(roc.false_positives[-1]) if len(roc.false_positives) else 0


def numbers(result: "FddbResult") -> dict[str, object]:
    """What --json writes: everything but the curves."""
    kinds = ("discrete", "continuous")
    return {
        "rates": {str(count): dict(zip(kinds, result.roc.at(count), strict=True)) for count in FALSE_POSITIVES},
        "last_false_positives": last_false_positives(result.roc),
        **{name: value for name, value in vars(result).items() if name != "roc"},
    }


def csv_text(roc: "Roc") -> str:
    """What --csv writes: every point of the curves, the highest threshold first."""
    points = zip(roc.thresholds, roc.false_positives, roc.discrete, roc.continuous, strict=True)
    lines = (
        f"{threshold:.9g},{false:.0f},{discrete:.9g},{continuous:.9g}\n"
        for threshold, false, discrete, continuous in points
    )
    return "threshold,false_positives,discrete,continuous\n" + "".join(lines)
