"""`facedeploy fddb-results`."""

import argparse
from pathlib import Path

DESCRIPTION = """Prediction files -> one file of results in FDDB's form: name, count, x y w h score a line.

FDDB's images lie among others, so run those of its fold files alone; its results can then be put together:
  sed 's|.*|originalPics/&.jpg|' FDDB-folds/FDDB-fold-[0-9][0-9].txt > fddb.txt
  facedeploy run --file_path fddb.txt --model_prefix_path deploy_weights/x/mod --save_dir predictions
  facedeploy fddb-results --predictions predictions --list FDDB-folds --output results.txt
  facedeploy eval-fddb -p results.txt -g FDDB-folds"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add = parser.add_argument
    add("--predictions", required=True, type=Path, metavar="DIR", help="what a run wrote: DIR/<image>.txt")
    add(
        "--list",
        required=True,
        type=Path,
        nargs="+",
        metavar="FOLD_FILE",
        help="fold files, each with the path of an image a line, without suffix; or the folder FDDB-folds",
    )
    add("--output", required=True, type=Path, metavar="FILE", help="the file to write, the images in the lists' order")
    add("--allow-missing", action="store_true", help="count an image without predictions as one without detections")


def run(arguments: argparse.Namespace) -> int:
    """Gather, write, sum up."""
    from facedeploy.fddb.folds import read_names
    from facedeploy.fddb.results import complete, gather_predictions, write_results

    names = read_names(arguments.list)
    found = gather_predictions(arguments.predictions, names)
    boxes, missing = complete(found, names, arguments.predictions, arguments.allow_missing)
    write_results(arguments.output, boxes)
    without = f", {len(missing)} of them without predictions" if missing else ""
    print(f"{len(boxes)} images{without}, {sum(map(len, boxes.values()))} boxes; written to {arguments.output}")
    return 0
