"""The precision-recall curves of an evaluation, drawn."""

from pathlib import Path

from facedeploy.image.figure import figure
from facedeploy.widerface.evaluate import WiderResult


def plot_curves(result: WiderResult, path: Path) -> None:
    """Draw the three curves to `path`. Raises as `image.figure.figure`."""
    with figure(path) as drawn:
        axes = drawn.add_subplot(
            xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1.01), title="WIDER FACE validation"
        )
        for difficulty, curve in result.precision_recall.items():
            precision, recall = curve[curve.any(axis=1)].T  # Thresholds above every score have no precision.
            axes.plot(recall, precision, label=f"{difficulty}  AP {getattr(result, difficulty):.4f}")
        axes.grid(alpha=0.3)
        axes.legend(loc="lower left")
