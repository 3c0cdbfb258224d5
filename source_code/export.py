"""`python export.py`: the same as `facedeploy export`, from a bare checkout."""

import sys

from facedeploy.cli.main import run_verb

if __name__ == "__main__":
    sys.exit(run_verb("export"))
