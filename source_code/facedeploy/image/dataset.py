"""A dataset on disk: one image, a folder of them (flat, or WIDER FACE's tree of events), or a list."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from facedeploy.core.errors import DataError

IMAGE_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
LIST_SUFFIXES = frozenset({".lst", ".txt"})


@dataclass(frozen=True)
class ImageFile:
    """An image and the name of its results: its path below the dataset, without suffix: `<event>/<image>`."""

    name: str
    path: Path


def list_images(path: str | Path) -> list[ImageFile]:
    """Images of `path`, sorted by name: a file, a folder and all below it (`images/` in it, if there), or a list.

    A list is a text file with one path a line, relative to the current directory or to the list itself; it keeps its
    order, and names are relative to the folder that all its images share. Raises DataError: nothing there, no image
    there, two images whose results would have one name.
    """
    path = Path(path)
    if path.is_dir():
        root = path / "images" if (path / "images").is_dir() else path
        files = sorted(_walk(root))
        if not files:
            raise DataError(f"{root} has no image in it or below ({', '.join(sorted(IMAGE_SUFFIXES))})")
        return _named(files, root)
    if not path.exists():
        raise DataError(f"{path}: there is no such file or folder (the current folder is {Path.cwd()})")
    if path.suffix.lower() in LIST_SUFFIXES:
        files = read_list(path)
        return _named(files, common_folder(files))
    return [ImageFile(path.stem, path)]


def read_list(path: Path) -> list[Path]:
    """Paths in a text file, one a line; a relative one is meant from the current directory, else from the file's own.

    Raises DataError when the file cannot be read or has no line.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as a list of files ({error})") from None
    files = [Path(line) for line in lines if line.strip()]
    if not files:
        raise DataError(f"{path}: the list is empty, expected one path a line")
    return [file if file.is_absolute() or file.exists() else _beside(path, file) for file in files]


def common_folder(files: Sequence[Path]) -> Path:
    """The deepest folder that has all of `files` below it."""
    return Path(os.path.commonpath([file.absolute().parent for file in files]))


def _beside(path: Path, file: Path) -> Path:
    beside = path.parent / file
    return beside if beside.exists() else file


def _named(files: Sequence[Path], root: Path) -> list[ImageFile]:
    root = root.absolute()
    images = [ImageFile(file.absolute().relative_to(root).with_suffix("").as_posix(), file) for file in files]
    seen: dict[str, Path] = {}
    for image in images:
        if image.name in seen:
            raise DataError(
                f"{seen[image.name]} and {image.path} would both write their results as {image.name}: rename one"
            )
        seen[image.name] = image.path
    return images


def _walk(root: Path) -> Iterator[Path]:
    """Image files below `root`; links to folders are followed, each real folder once."""
    seen: set[Path] = set()
    for folder, folders, files in os.walk(root, followlinks=True):
        real = Path(folder).resolve()
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in files:
            if not name.startswith(".") and Path(name).suffix.lower() in IMAGE_SUFFIXES:
                yield Path(folder) / name
