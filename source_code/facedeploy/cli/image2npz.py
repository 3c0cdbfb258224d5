"""`facedeploy image2npz` and common/utils/image2npz.py."""

import argparse
from pathlib import Path

DESCRIPTION = (
    """Images -> npz files (input_0: u8 (3, h, w) RGB, at each image's own size) and a list of them for vamp."""
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add = parser.add_argument
    add("--dataset_path", required=True, type=Path, help="an image, a folder (flat or WIDER FACE's tree), or a list")
    add("--target_path", required=True, type=Path, help="where the npz files go: <target_path>/<event>/<image>.npz")
    add("--text_path", required=True, type=Path, help="the list to write, one npz path a line")


def run(arguments: argparse.Namespace) -> int:
    """Convert, and sum up."""
    from tqdm import tqdm

    from facedeploy.cli.failures import report_failures
    from facedeploy.image.dataset import find_images
    from facedeploy.npz.encode import encode_images

    found = find_images(arguments.dataset_path)
    done = encode_images(found.images, arguments.target_path, arguments.text_path)
    failures = [str(error) for _, error in found.refused]
    failures += [str(error) for _, error in tqdm(done, total=len(found.images), unit="image", disable=None) if error]
    total = len(found.images) + len(found.refused)
    print(f"{total - len(failures)} npz files in {arguments.target_path}, listed in {arguments.text_path}")
    return report_failures(failures, total)
