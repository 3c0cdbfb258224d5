"""`facedeploy npz-decode` and common/utils/npz_decode.py."""

import argparse
from pathlib import Path

from facedeploy.cli.options import add_draw, draw_from, positive

DESCRIPTION = """Output npz files of vamp -> WIDER FACE prediction files. Files are paired by name, never by order."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add = parser.add_argument
    add("--txt", required=True, type=Path, metavar="OUT", help="where the prediction files go")
    add("--input_image_dir", required=True, type=Path, help="the images that were encoded")
    add("--model_size", required=True, type=positive, nargs=2, metavar=("HEIGHT", "WIDTH"), help="the canvas, px")
    add("--vamp_datalist_path", required=True, type=Path, help="the list that vamp was given")
    add("--vamp_output_dir", required=True, type=Path, help="where vamp wrote its npz files")
    add_draw(parser)


def run(arguments: argparse.Namespace) -> int:
    """Decode, and sum up."""
    from tqdm import tqdm

    from facedeploy.cli.failures import report_failures
    from facedeploy.cli.writer import PredictionWriter
    from facedeploy.core.errors import FacedeployError
    from facedeploy.image.dataset import find_images
    from facedeploy.image.decode import read_image
    from facedeploy.npz.datalist import pair_with_images, read_datalist
    from facedeploy.npz.decode import decode_slots

    images = find_images(arguments.input_image_dir).images  # Those without a name have no npz file either.
    pairs = pair_with_images(read_datalist(arguments.vamp_datalist_path), images)
    height, width = arguments.model_size
    writer = PredictionWriter(arguments.txt, draw_from(arguments))
    writer.refuse_overwriting([image for _, image in pairs])
    failures, faces = [], 0
    for entry, image in tqdm(pairs, unit="npz", disable=None):
        try:
            pixels = read_image(image.path)
            detections = decode_slots(entry.output(arguments.vamp_output_dir), pixels, (height, width))
        except FacedeployError as error:
            writer.remove(image.name)
            failures.append(str(error))
            continue
        writer.write(image.name, detections, pixels)
        faces += len(detections)
    print(f"{len(pairs) - len(failures)} images, {faces} boxes; written to {arguments.txt}")
    return report_failures(failures, len(pairs))
