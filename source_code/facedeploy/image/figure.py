"""Figures of matplotlib (extra eval), written whole."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from facedeploy.core.errors import ConfigError
from facedeploy.core.files import result_path
from facedeploy.core.requirement import require

PLOT_FORMATS = ("png", "pdf", "svg")


def check_plot(path: Path) -> None:
    """Raise ConfigError unless the suffix is of PLOT_FORMATS, DependencyError without matplotlib: before the work."""
    if path.suffix.lower().lstrip(".") not in PLOT_FORMATS:
        raise ConfigError(f"{path}: got suffix {path.suffix!r}, expected one of {', '.join(PLOT_FORMATS)}")
    require("matplotlib.figure", "eval", "drawing plots")


@contextmanager
def figure(path: Path, inches: tuple[float, float] = (6, 5)) -> Iterator[Any]:
    """Yield a matplotlib Figure to draw on; then write it to `path`, whose suffix says the format.

    Raises as `check_plot`, and DataError when it cannot be written.
    """
    check_plot(path)
    # A figure of its own needs neither pyplot nor a display; savefig picks Agg or a vector canvas by the suffix.
    drawn = require("matplotlib.figure", "eval", "drawing plots").Figure(figsize=inches, layout="constrained")
    yield drawn
    with result_path(path) as temporary:
        drawn.savefig(temporary, dpi=150)
