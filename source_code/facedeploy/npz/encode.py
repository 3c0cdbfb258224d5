"""Images -> npz files and a list of them."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from facedeploy.core.errors import FacedeployError, ImageError
from facedeploy.core.files import remove_result, write_text
from facedeploy.image.dataset import ImageFile, check_one_line
from facedeploy.image.decode import read_image
from facedeploy.npz.files import write_image_npz


def encode_images(
    images: Sequence[ImageFile], target: Path, datalist: Path
) -> Iterator[tuple[ImageFile, FacedeployError | None]]:
    """Write `<target>/<name>.npz` for each image and, at the end, the list of them; yields each image when it is done.

    An image that cannot be read comes with its error and is not listed, and an npz file that it had is removed. Raises
    DataError when something cannot be written.
    """
    check_one_line(str(target))
    written = []
    for image in images:
        path = target / f"{image.name}.npz"
        try:
            pixels = read_image(image.path)
        except ImageError as error:
            remove_result(path)
            yield image, error
            continue
        write_image_npz(path, pixels)
        written.append(path)
        yield image, None
    write_text(datalist, "".join(f"{path}\n" for path in written))
