"""`vamp`: the reference system's name of `facedeploy perf`."""

import sys
from collections.abc import Sequence

from facedeploy.cli.main import run_verb


def main(argv: Sequence[str] | None = None) -> int:
    """Run `vamp`; returns the exit code."""
    return run_verb("perf", argv, prog="vamp")


if __name__ == "__main__":
    sys.exit(main())
