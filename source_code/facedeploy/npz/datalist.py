"""A list of npz files, and how outputs and images are found for them: by name, never by order."""

from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from facedeploy.core.errors import DataError
from facedeploy.image.dataset import ImageFile, common_folder, read_list


@dataclass(frozen=True)
class NpzFile:
    """An input npz. `name` is its path below the folder that all files of the list share, without suffix."""

    name: str
    path: Path

    def output(self, folder: Path) -> Path:
        """Where its output npz lies in an output folder."""
        return folder / f"{self.name}.npz"


def read_datalist(path: Path) -> list[NpzFile]:
    """The npz files of a list, in its order. Raises DataError: no list, empty, a name that comes twice."""
    files = read_list(path)
    root = common_folder(files)
    entries = [NpzFile(file.absolute().relative_to(root).with_suffix("").as_posix(), file) for file in files]
    seen: set[str] = set()
    for entry in entries:
        if entry.name in seen:
            raise DataError(f"{path}: {entry.path} is listed twice")
        seen.add(entry.name)
    return entries


def pair_with_images(entries: list[NpzFile], images: list[ImageFile]) -> list[tuple[NpzFile, ImageFile]]:
    """Each npz file with the image it was made of: the one whose name (`<event>/<image>`) ends its path.

    Raises DataError that names the npz files without an image, or with more than one.
    """
    by_stem: dict[str, list[ImageFile]] = {}
    for image in images:
        by_stem.setdefault(PurePosixPath(image.name).name, []).append(image)
    pairs, lost = [], []
    for entry in entries:
        parts = entry.path.absolute().with_suffix("").parts
        same = by_stem.get(parts[-1], [])
        # A flat folder of npz files has lost the events; then a stem that is unique is enough.
        exact = [
            image for image in same if parts[-len(PurePosixPath(image.name).parts) :] == PurePosixPath(image.name).parts
        ]
        found = exact or same
        if len(found) == 1:
            pairs.append((entry, found[0]))
        else:
            lost.append(f"{entry.path} ({len(found) or 'no'} images)")
    if lost:
        more = f" and {len(lost) - 3} more" if len(lost) > 3 else ""
        raise DataError(f"{len(lost)} npz files cannot be paired with one image by name: {', '.join(lost[:3])}{more}")
    return pairs
