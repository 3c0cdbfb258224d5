"""The ready configs: found from any folder, in a checkout and after an installation."""

from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path, PurePosixPath

from facedeploy.core.errors import ConfigError

BUILD, VDSP = "build_in/build/*.yaml", "vdsp_params/*.json"
_INSTALLED = Path(__file__).parent / "shipped"
_CHECKOUT = Path(__file__).parents[3]


@dataclass(frozen=True)
class FoundConfig:
    """The file to read; `shipped` when it is the one that comes with facedeploy, since the path as given is none."""

    path: Path
    shipped: bool


def shipped_configs(*patterns: str) -> dict[str, Path]:
    """What comes with facedeploy: `build_in/build/x.yaml` and `vdsp_params/y.json` -> the file.

    All, or those of BUILD or VDSP.
    """
    root = _INSTALLED if _INSTALLED.is_dir() else _CHECKOUT
    return {
        path.relative_to(root).as_posix(): path
        for pattern in patterns or (BUILD, VDSP)
        for path in sorted(root.glob(pattern))
    }


def find_config(path: str | Path) -> FoundConfig:
    """The file at `path`, or else the shipped one of that name.

    The name is the documented one, from whichever folder: `build_in/build/x.yaml`, `../build_in/build/x.yaml`,
    `vdsp_params/y.json`, `build_in/vdsp_params/y.json`. Raises ConfigError when it is neither, and names the nearest.
    """
    given = Path(path)
    if _exists(given):
        return FoundConfig(given, shipped=False)
    parts = list(PurePosixPath(given.as_posix()).parts)
    while parts[:1] == [".."]:
        del parts[0]
    name = "/".join(parts).replace("build_in/vdsp_params/", "vdsp_params/")
    configs = shipped_configs()
    if name in configs:
        return FoundConfig(configs[name], shipped=True)
    by_file = {PurePosixPath(known).name: known for known in configs}
    nearest = [by_file[file] for file in get_close_matches(given.name, by_file, 3)]
    same_kind = [known for known in configs if PurePosixPath(known).suffix == given.suffix]
    raise ConfigError(
        f"{given}: there is no such file (the current folder is {Path.cwd()}); "
        f"facedeploy has {', '.join(nearest or same_kind or configs)}"
    )


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # Such as a name that is too long.
        return False
