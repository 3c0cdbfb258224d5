"""The ROC of an evaluation, drawn."""

from pathlib import Path

from facedeploy.fddb.evaluate import FddbResult
from facedeploy.image.figure import figure

FALSE_POSITIVES = 2000  # As far as FDDB's own figures go.


def plot_roc(result: FddbResult, path: Path) -> None:
    """Draw both curves to `path`. Raises as `image.figure.figure`."""
    with figure(path) as drawn:
        axes = drawn.add_subplot(
            xlabel="false positives",
            ylabel="true positive rate",
            xlim=(0, FALSE_POSITIVES),
            ylim=(0, 1.01),
            title=f"FDDB, {result.images} images",
        )
        for kind in ("discrete", "continuous"):
            rate = result.roc.at(FALSE_POSITIVES)[kind == "continuous"]
            label = f"{kind}  {rate:.4f} at {FALSE_POSITIVES}"
            axes.plot(result.roc.false_positives, getattr(result.roc, kind), label=label)
        axes.grid(alpha=0.3)
        axes.legend(loc="lower right")
