"""A dataset on disk: one image, a folder of them (flat, or WIDER FACE's tree of events), or a list."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from facedeploy.core.errors import DataError
from facedeploy.core.shown import shown

LONGEST_PATH = 120  # Characters of one in a message about several.
# What OpenCV's wheels read; a file that is named or listed may have any other, or none.
IMAGE_SUFFIXES = frozenset(
    {".avif", ".bmp", ".gif", ".jp2", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
)
LONGEST_NAME = 255  # Bytes that a name in a folder may have, on all common file systems.
RESULT = ".txt"  # What the longest name of a result has behind the image's.
LIST_SUFFIXES = frozenset({".lst", ".txt"})


@dataclass(frozen=True)
class ImageFile:
    """An image and the name of its results: its path below the dataset, without suffix: `<event>/<image>`."""

    name: str
    path: Path


@dataclass(frozen=True)
class FoundImages:
    """The images of a dataset, and those whose results no file could have: their names are not one line of text, or
    too long.

    `root` is the folder below which every image counts; None for a list or a single image.
    """

    images: list[ImageFile]
    refused: list[tuple[ImageFile, DataError]]
    root: Path | None


def list_images(path: str | Path) -> list[ImageFile]:
    """The images that `find_images` finds. Raises DataError as it does, and for the first that it refuses."""
    found = find_images(path)
    for _, error in found.refused:
        raise error
    return found.images


def find_images(path: str | Path) -> FoundImages:
    """Images of `path`, sorted by name: a file, a folder and all below it (`images/` in it, if there), or a list.

    A list is a text file with one path a line, relative to the current directory or to the list itself; it keeps its
    order, and names are relative to the folder that all its images share. Raises DataError: nothing there, no image
    there, a folder that cannot be read, two files of one name.
    """
    path, root = Path(path), None
    try:
        if path.is_dir():
            root = path / "images" if (path / "images").is_dir() else path
            files = sorted(_walk(root))
            if not files:
                raise DataError(f"{root} has no image in it or below ({', '.join(sorted(IMAGE_SUFFIXES))})")
            named = _unique(files, root, root)
        elif path.exists():
            named = _unique(read_list(path) if path.suffix.lower() in LIST_SUFFIXES else [path], path)
        else:
            raise DataError(f"{path}: there is no such file or folder (the current folder is {Path.cwd()})")
    except OSError as error:  # Such as a name that is too long, or a folder that may not be listed.
        raise DataError(f"{error.filename or path}: cannot be read ({error.strerror})") from error
    found = FoundImages([], [], root)
    for name, file in named:
        image = ImageFile(name, file)
        try:
            check_one_line(name)
            _check_length(name)
        except DataError as error:
            found.refused.append((image, error))
        else:
            found.images.append(image)
    return found


def spread_evenly(total: int, count: int) -> list[int]:
    """`count` indices of `total` files, all if there are no more: files of one event or scene lie side by side."""
    count = min(count, total)
    return [index * total // count for index in range(count)]


def read_list(path: Path) -> list[Path]:
    """Paths in a text file, one a line; a relative one is meant from the current directory, else from the file's own.

    Raises DataError when the file cannot be read or has no line.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: byte {error.start} is not UTF-8, expected a text with one path a line") from error
    files = [Path(line) for line in lines if line.strip()]
    if not files:
        raise DataError(f"{path}: the list is empty, expected one path a line")
    return [file if _exists(file) or not _exists(path.parent / file) else path.parent / file for file in files]


def name_files(path: Path) -> list[tuple[str, Path]]:
    """The files of a list, each with its name: its path below the deepest folder that has them all, without suffix.

    Raises DataError as `read_list` does, when two files have one name, and when a name is not one line of text.
    """
    named = _unique(read_list(path), path)
    for name, _ in named:
        check_one_line(name)
    return named


def _unique(files: Sequence[Path], source: Path, root: Path | None = None) -> list[tuple[str, Path]]:
    """Each file of `source` with its name, any text: its path below `root`, or the deepest folder that has them all.

    Raises DataError when two files have one name, and when one has none.
    """
    # Not resolved: a link's own place names it. But no name may climb out of the folder of the results.
    places = [Path(f"/{os.path.normpath(file.absolute()).lstrip('/')}") for file in files]  # Also //a, which is /a.
    if nameless := [file for file, place in zip(files, places, strict=True) if not place.name]:
        raise DataError(f"{source}: got {shown(str(nameless[0]))}, expected the path of a file")
    base = os.path.normpath(root.absolute()) if root else os.path.commonpath([place.parent for place in places])
    named: dict[str, Path] = {}
    for file, place in zip(files, places, strict=True):
        name = place.relative_to(base).with_suffix("").as_posix()
        if name in named:
            one, other = shown(str(named[name]), LONGEST_PATH), shown(str(file), LONGEST_PATH)
            problem = f"{one} and {other} would both write their results as {shown(name, LONGEST_PATH)}: rename one"
            raise DataError(f"{source}: {f'{one} is listed twice' if named[name] == file else problem}")
        named[name] = file
    return list(named.items())


def check_one_line(name: str) -> None:
    """Raise DataError unless a name can stand in a text file, on a line of its own."""
    if len(name.splitlines()) != 1:
        raise DataError(f"{name!r}: a name with a line break cannot stand in a list or a prediction file: rename it")
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise DataError(f"{name!r}: a name that is not UTF-8 cannot stand in a list: rename it") from error


def _check_length(name: str) -> None:
    """Raise DataError when no result can have the name, of a file without suffix, or with a short one."""
    length = len(name.rpartition("/")[2].encode()) + len(RESULT)
    if length > LONGEST_NAME:
        raise DataError(
            f"{shown(name)}: its result would have a name of {length} bytes ({LONGEST_NAME} at most): rename it"
        )


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # Such as a name that is too long; reading it will tell.
        return False


def _walk(root: Path) -> Iterator[Path]:
    """Image files below `root`; links to folders are followed, each real folder once. Raises OSError."""

    def fail(error: OSError) -> None:
        raise error

    seen: set[Path] = set()
    for folder, folders, files in os.walk(root, onerror=fail, followlinks=True):
        real = Path(folder).resolve()
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in files:
            if not name.startswith(".") and Path(name).suffix.lower() in IMAGE_SUFFIXES:
                yield Path(folder) / name
