"""What a run over many images says of those that failed."""

import sys
from collections.abc import Sequence

SHOWN = 20
EXIT_SOME_FAILED = 1


def report_failures(failures: Sequence[str], total: int) -> int:
    """Print what failed to stderr; returns the exit code: 0 when nothing did."""
    if not failures:
        return 0
    print(f"{len(failures)} of {total} failed:", file=sys.stderr)
    for line in failures[:SHOWN]:
        print(f"  {line}", file=sys.stderr)
    if len(failures) > SHOWN:
        print(f"  ... and {len(failures) - SHOWN} more", file=sys.stderr)
    return EXIT_SOME_FAILED
