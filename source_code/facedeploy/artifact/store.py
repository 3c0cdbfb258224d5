"""Writing and opening `<folder>/mod.so`, `mod.params`, `mod.json`."""

import hashlib
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from facedeploy.artifact.manifest import FileEntry, Manifest, manifest_from_json, manifest_to_json
from facedeploy.core.errors import ArtifactError
from facedeploy.core.files import atomic_path

STEM = "mod"
CODE, PARAMS, MANIFEST = f"{STEM}.so", f"{STEM}.params", f"{STEM}.json"


@dataclass(frozen=True)
class Artifact:
    """An artifact on disk, verified when it was opened. `prefix` is the path without suffix, `.../mod`."""

    prefix: Path
    manifest: Manifest

    @property
    def code(self) -> Path:
        """The shared library."""
        return self.prefix.with_name(CODE)

    @property
    def params(self) -> Path:
        """The weights."""
        return self.prefix.with_name(PARAMS)


def save_artifact(folder: Path, manifest: Manifest, writers: Mapping[str, Callable[[Path], object]]) -> Artifact:
    """Write the files of `writers` (`mod.so`, `mod.params`) and then the manifest with their sizes and hashes.

    All are written under temporary names and renamed at the end, the manifest last: a reader sees the old artifact or
    the new one, or files whose hashes disagree with the manifest, which opening reports. Raises ArtifactError when the
    folder cannot be written.
    """
    files = {}
    try:
        with ExitStack() as stack:
            temporary_manifest = stack.enter_context(atomic_path(folder / MANIFEST))
            for name, write in writers.items():
                temporary = stack.enter_context(atomic_path(folder / name))
                write(temporary)
                files[name] = FileEntry(temporary.stat().st_size, file_sha256(temporary))
            manifest = replace(manifest, files=files)
            temporary_manifest.write_text(manifest_to_json(manifest), encoding="utf-8")
    except OSError as error:
        raise ArtifactError(
            f"{folder}: cannot be written ({error.strerror or error}): choose another workspace.path"
        ) from error
    return Artifact(folder / STEM, manifest)


def open_artifact(prefix: str | Path) -> Artifact:
    """Open `.../mod` (its folder, or one of the three files, does as well) and verify sizes and hashes.

    Raises ArtifactError: nothing there, a file missing, damaged, or not written by this package.
    """
    try:
        return _open(_normalize_prefix(Path(prefix)))
    except OSError as error:  # Such as a file without permission to read it.
        raise ArtifactError(f"the artifact at {prefix} cannot be read ({error.strerror or error})") from error


def _open(prefix: Path) -> Artifact:
    path = prefix.with_name(MANIFEST)
    if not path.is_file():
        beside = sorted(child.name for child in prefix.parent.iterdir()) if prefix.parent.is_dir() else None
        found = f"the folder has {', '.join(beside[:5]) or 'nothing'}" if beside is not None else "no such folder"
        raise ArtifactError(
            f"no artifact at {prefix}: there is no file {path} ({found}); give the prefix that `vamc compile` printed, "
            "<workspace.path>/<name>/mod"
        )
    try:
        manifest = manifest_from_json(path.read_text(encoding="utf-8"), str(path))
    except UnicodeDecodeError as error:
        raise ArtifactError(f"{path} is not text ({error.reason}): compile the model again") from error
    for name in (CODE, PARAMS):
        entry, file = manifest.files.get(name), prefix.with_name(name)
        if entry is None:
            raise ArtifactError(f"{path} does not list {name}: compile the model again")
        if not file.is_file():
            raise ArtifactError(
                f"there is no file {file} beside {path.name}: copy all three files, or compile the model again"
            )
        size = file.stat().st_size
        if size != entry.size:
            raise ArtifactError(
                f"{file} has {size} bytes, {path.name} says {entry.size}: it is cut off or from another build; "
                "copy all three files again, or compile the model again"
            )
        if file_sha256(file) != entry.sha256:
            raise ArtifactError(
                f"{file} is damaged or from another build: its sha256 is not what {path.name} says; "
                "copy all three files again, or compile the model again"
            )
    return Artifact(prefix, manifest)


def file_sha256(path: Path) -> str:
    """Hex digest of a file's bytes."""
    with path.open("rb") as handle:
        digest = hashlib.sha256()
        while chunk := handle.read(1 << 20):
            digest.update(chunk)
        return digest.hexdigest()


def _normalize_prefix(path: Path) -> Path:
    if path.is_dir():
        return path / STEM
    if path.name in (CODE, PARAMS, MANIFEST):
        return path.with_name(STEM)
    if path.name != STEM:
        raise ArtifactError(f"no artifact at {path}: a prefix ends with /{STEM}, as in deploy_weights/<name>/{STEM}")
    return path
