"""`facedeploy eval` from a checkout."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "source_code"))

from facedeploy.cli.main import run_verb

if __name__ == "__main__":
    sys.exit(run_verb("eval"))
