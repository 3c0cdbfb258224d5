"""The precision-recall curves of an evaluation, drawn."""

from pathlib import Path

from facedeploy.core.errors import ConfigError
from facedeploy.core.files import result_path
from facedeploy.core.requirement import require
from facedeploy.widerface.evaluate import WiderResult

PLOT_FORMATS = ("png", "pdf", "svg")


def check_plot(path: Path) -> None:
    """Raise ConfigError unless the suffix is of PLOT_FORMATS, DependencyError without matplotlib: before the work."""
    if path.suffix.lower().lstrip(".") not in PLOT_FORMATS:
        raise ConfigError(f"{path}: got suffix {path.suffix!r}, expected one of {', '.join(PLOT_FORMATS)}")
    require("matplotlib.figure", "eval", "drawing curves")


def plot_curves(result: WiderResult, path: Path) -> None:
    """Draw the three curves to `path`, whose suffix says the format.

    Raises as `check_plot`, and DataError when it cannot be written.
    """
    check_plot(path)
    # A figure of its own needs neither pyplot nor a display; savefig picks Agg or a vector canvas by the suffix.
    figure = require("matplotlib.figure", "eval", "drawing curves").Figure(figsize=(6, 5), layout="constrained")
    axes = figure.add_subplot(
        xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1.01), title="WIDER FACE validation"
    )
    for difficulty, curve in result.precision_recall.items():
        precision, recall = curve[curve.any(axis=1)].T  # Thresholds above every score have no precision.
        axes.plot(recall, precision, label=f"{difficulty}  AP {getattr(result, difficulty):.4f}")
    axes.grid(alpha=0.3)
    axes.legend(loc="lower left")
    with result_path(path) as temporary:
        figure.savefig(temporary, dpi=150)
