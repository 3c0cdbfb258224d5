"""What a run over many images says of those that failed."""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from facedeploy.core.errors import FacedeployError
from facedeploy.core.files import remove_result, write_text

SHOWN = 20
EXIT_SOME_FAILED = 1
REPORT = "failures.jsonl"  # A name that no prediction file can have.


@dataclass(frozen=True)
class Failure:
    """An image without results, and why."""

    name: str
    path: str
    reason: str

    @classmethod
    def of(cls, name: str, path: Path, error: FacedeployError) -> "Failure":
        """What an error says of an image; most errors name the file themselves."""
        return cls(name, str(path), str(error).removeprefix(f"{path}: "))

    def __str__(self) -> str:
        path = self.path if self.path.isprintable() else ascii(self.path)  # One line a failure.
        return f"{path}: {self.reason}"


def report_failures(failures: Sequence[object], total: int) -> int:
    """Print what failed to stderr; returns the exit code: 0 when nothing did."""
    if not failures:
        return 0
    print(f"{len(failures)} of {total} failed:", file=sys.stderr)
    for line in failures[:SHOWN]:
        print(f"  {line}", file=sys.stderr)
    if len(failures) > SHOWN:
        print(f"  ... and {len(failures) - SHOWN} more", file=sys.stderr)
    return EXIT_SOME_FAILED


def write_failures(folder: Path, failures: Sequence[Failure]) -> None:
    """Write `failures.jsonl`: an object a line with name, path and reason. No failure, no file.

    It is ASCII, so that any name can stand in it. Raises DataError when it cannot be written or removed.
    """
    path = folder / REPORT
    if failures:
        write_text(path, "".join(f"{json.dumps(asdict(failure))}\n" for failure in failures))
    else:
        remove_result(path)
