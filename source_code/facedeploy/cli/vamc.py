"""`vamc compile CONFIG.yaml`: the reference system's name of `facedeploy compile`."""

import argparse
import sys
from collections.abc import Sequence

from facedeploy.cli.main import run_verb


def main(argv: Sequence[str] | None = None) -> int:
    """Run `vamc`; returns the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments[:1] == ["compile"]:
        return run_verb("compile", arguments[1:], prog="vamc compile")
    parser = argparse.ArgumentParser(prog="vamc", description="The model compiler. `vamc compile --help` tells more.")
    parser.add_argument("verb", choices=["compile"], help="compile a build YAML into an artifact")
    parser.parse_args(arguments[:1])
    return 2  # Not reached: anything but `compile` has made argparse exit.


if __name__ == "__main__":
    sys.exit(main())
