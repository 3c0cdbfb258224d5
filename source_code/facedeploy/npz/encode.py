"""Images -> npz files and a list of them."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from facedeploy.core.errors import DataError, FacedeployError
from facedeploy.core.files import write_text
from facedeploy.image.dataset import ImageFile
from facedeploy.image.decode import read_image
from facedeploy.npz.files import write_image_npz


def encode_images(
    images: Sequence[ImageFile], target: Path, datalist: Path
) -> Iterator[tuple[ImageFile, FacedeployError | None]]:
    """Write `<target>/<name>.npz` for each image and, at the end, the list of them; yields each image when it is done.

    An image that cannot be read comes with its error and is not listed.
    """
    written = []
    for image in images:
        error: FacedeployError | None = None
        path = target / f"{image.name}.npz"
        try:
            if len(str(path).splitlines()) != 1:
                raise DataError(f"{str(image.path)!r}: a name with a line break cannot stand in a list; rename it")
            write_image_npz(path, read_image(image.path))
            written.append(path)
        except FacedeployError as caught:
            error = caught
        yield image, error
    try:
        write_text(datalist, "".join(f"{path}\n" for path in written))
    except OSError as failure:
        raise DataError(f"{datalist}: cannot be written ({failure.strerror})") from failure
