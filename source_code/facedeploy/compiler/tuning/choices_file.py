"""Measured choices on disk, shared by the artifacts of a workspace."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

from facedeploy.config.parse import parse_json
from facedeploy.config.validate import validate
from facedeploy.core.errors import CompileError, ConfigError
from facedeploy.core.files import atomic_path


@dataclass(frozen=True)
class Measured:
    """The candidate that was chosen, and what each took; both by their text."""

    choice: str
    microseconds: dict[str, float]


@dataclass(frozen=True)
class Contents:
    """What the file says: for each setting (the target, threads and versions) the choices by specification."""

    schema: Literal[1] = 1
    settings: dict[str, dict[str, Measured]] = field(default_factory=dict)


@dataclass(frozen=True)
class ChoicesFile:
    """The choices of one setting. Methods raise CompileError: the file is damaged, foreign, cannot be read, written."""

    path: Path
    setting: str

    def find(self, specification: str) -> Measured | None:
        """What was measured, if it was."""
        return self._read().settings.get(self.setting, {}).get(specification)

    def add(self, specification: str, measured: Measured) -> None:
        """Write it down, beside what others may have written meanwhile."""
        contents = self._read()
        contents.settings.setdefault(self.setting, {})[specification] = measured
        try:
            with atomic_path(self.path) as temporary:
                temporary.write_text(json.dumps(asdict(contents), indent=1) + "\n", encoding="utf-8")
        except OSError as error:
            raise CompileError(
                f"{self.path}: cannot be written ({error.strerror or error}): choose another workspace.path, "
                "or set backend.tune false"
            ) from error

    def _read(self) -> Contents:
        try:
            text = self.path.read_text(encoding="utf-8")
            return validate(Contents, parse_json(text, str(self.path)), str(self.path))
        except (FileNotFoundError, NotADirectoryError):
            return Contents()
        except (OSError, UnicodeDecodeError, ConfigError) as error:
            said = f"byte {error.start} is not UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)
            problem = "; ".join(line.strip() for line in said.removeprefix(f"{self.path}: ").splitlines()[:2])
            raise CompileError(
                f"{self.path}: is not a file of measured choices ({problem}): delete it, or set backend.tune false"
            ) from error
