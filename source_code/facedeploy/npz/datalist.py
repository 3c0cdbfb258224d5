"""A list of npz files, and how outputs and images are found for them: by name, never by order."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from facedeploy.core.errors import DataError
from facedeploy.image.dataset import ImageFile, name_files

SHOWN = 3


@dataclass(frozen=True)
class NpzFile:
    """An input npz. `name` is its path below the folder that all files of the list share, without suffix."""

    name: str
    path: Path

    def output(self, folder: Path) -> Path:
        """Where its output npz lies in an output folder."""
        return folder / f"{self.name}.npz"


def read_datalist(path: Path) -> list[NpzFile]:
    """The npz files of a list, in its order. Raises DataError: no list, empty, two files of one name."""
    return [NpzFile(name, file) for name, file in name_files(path)]


def pair_with_images(entries: Sequence[NpzFile], images: Sequence[ImageFile]) -> list[tuple[NpzFile, ImageFile]]:
    """Each npz file with the image it was made of: the one whose name (`<event>/<image>`) ends its path.

    Where all npz files lie in one folder, the events may be lost: then a stem that one image alone has is enough.
    Raises DataError that names the npz files without an image, with more than one, or with another's.
    """
    by_stem: dict[str, list[ImageFile]] = {}
    for image in images:
        by_stem.setdefault(PurePosixPath(image.name).name, []).append(image)
    found = [_images_of(entry, by_stem.get(PurePosixPath(entry.name).name, [])) for entry in entries]
    uses = Counter(image.name for matches in found for image in matches)
    pairs, lost = [], []
    for entry, matches in zip(entries, found, strict=True):
        if len(matches) == 1 and uses[matches[0].name] == 1:
            pairs.append((entry, matches[0]))
        else:
            taken = f"{matches[0].path}, as others do" if len(matches) == 1 else f"{len(matches) or 'no'} images"
            lost.append(f"{entry.path} ({taken})")
    if lost:
        more = f" and {len(lost) - SHOWN} more" if len(lost) > SHOWN else ""
        raise DataError(
            f"{len(lost)} of {len(entries)} npz files cannot be paired with one image by name: "
            f"{', '.join(lost[:SHOWN])}{more}"
        )
    return pairs


def _images_of(entry: NpzFile, images: list[ImageFile]) -> list[ImageFile]:
    """Those of `images`, all of the npz file's stem, that it may have been made of."""
    parts = entry.path.absolute().with_suffix("").parts
    ends = [image for image in images if parts[-len(_parts(image)) :] == _parts(image)]
    if not ends:
        return images if "/" not in entry.name else []
    deepest = max(ends, key=lambda image: len(_parts(image)))
    # a.npz in a folder x ends with the names of both a and x/a: only if the list says the same of it is that no doubt.
    same = [image for image in ends if image.name == entry.name and image is not deepest]
    return [deepest, *same]


def _parts(image: ImageFile) -> tuple[str, ...]:
    return PurePosixPath(image.name).parts
