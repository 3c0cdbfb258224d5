"""Latencies by size and detector, as Markdown, JSON and a picture."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from facedeploy.analysis.published import Published, Size
from facedeploy.core.shown import size_text
from facedeploy.image.figure import figure
from facedeploy.perf.warmup import AGREEING, TOLERANCE, WINDOW

UNSTEADY = "*"


@dataclass(frozen=True)
class Cell:
    """Medians, ms: of the model call alone, and of preprocessing, model and post-processing together.

    `steady` is whether the warm-up became so.
    """

    model_ms: float
    whole_ms: float
    steady: bool


@dataclass(frozen=True)
class LatencyTable:
    """`cells` by (width, height), px, and title of a detector; and what was `published` for any of the sizes.

    `failures` say why there is no cell for a size and a title.
    """

    cpu: str
    threads: int
    iterations: int
    date: str
    sizes: tuple[Size, ...]
    titles: tuple[str, ...]
    cells: Mapping[tuple[Size, str], Cell]
    published: tuple[Published, ...]
    failures: Mapping[tuple[Size, str], str] = field(default_factory=dict)

    def caption(self) -> str:
        """How it was measured."""
        threads = f"{self.threads} thread{'s' if self.threads > 1 else ''}"
        return (
            f"{self.cpu}, {threads}, one image at a time, medians of {self.iterations} calls after a warm-up (calls by "
            f"{WINDOW}, until the medians of {AGREEING} in succession agree within {TOLERANCE:.0%}), {self.date}; "
            "sizes are width x height, px"
        )

    def lines(self) -> list[str]:
        """Markdown: the model calls, whole detections, and the published figures."""
        lines = [
            *self._table("Model call, ms (images/s)", lambda cell: cell.model_ms),
            "",
            *self._table("Preprocessing, model and post-processing, ms (images/s)", lambda cell: cell.whole_ms),
            "",
            self.caption(),
        ]
        if not all(cell.steady for cell in self.cells.values()):
            lines += ["", f"{UNSTEADY} The warm-up never became steady: other work is in these figures."]
        return lines + (["", *self._published()] if self.published else [])

    def to_json(self) -> dict[str, Any]:
        """Everything, sizes as [width, height]. What failed has a reason, and null for each figure."""
        return {
            **{name: getattr(self, name) for name in ("cpu", "threads", "iterations", "date")},
            "warmup": {"window": WINDOW, "agreeing": AGREEING, "tolerance": TOLERANCE},
            "latencies": [self._figures(size, title) for title in self.titles for size in self.sizes],
            "published": [
                {
                    **{name: value for name, value in vars(each).items() if name != "milliseconds"},
                    "latencies": [{"size_wh": size, "ms": ms} for size, ms in each.milliseconds.items()],
                }
                for each in self.published
            ],
        }

    def plot(self, path: Path) -> None:
        """Draw model calls over the pixels of the canvas. Raises as `image.figure.figure`."""
        with figure(path, (8, 6)) as drawn:
            axes = drawn.add_subplot(
                xlabel="canvas, width x height, px", ylabel="model call, ms", xscale="log", yscale="log"
            )
            for title in self.titles:
                measured = [size for size in self.sizes if (size, title) in self.cells]
                points = sorted((_megapixels(size), self.cells[size, title].model_ms) for size in measured)
                axes.plot([x for x, _ in points], [ms for _, ms in points], marker="o", label=title)
            ordered = sorted(self.sizes, key=_megapixels)
            axes.set_xticks(list(map(_megapixels, ordered)), list(map(size_text, ordered)), rotation=30, ha="right")
            axes.minorticks_off()
            axes.grid(alpha=0.3)
            axes.legend()
            axes.set_title(self.caption(), fontsize=7, wrap=True)

    def _table(self, title: str, milliseconds: Callable[[Cell], float]) -> list[str]:
        def shown(size: Size, of: str) -> str:
            cell = self.cells.get((size, of))
            if cell is None:
                return "-"
            ms = milliseconds(cell)
            rate = 1000 / ms
            return f"{ms:.2f} ({rate:.{1 if rate >= 10 else 2}f}){'' if cell.steady else UNSTEADY}"

        rows = [[size_text(size), *(shown(size, of) for of in self.titles)] for size in self.sizes]
        return [f"{title}:", "", *markdown(["width x height", *self.titles], rows)]

    def _figures(self, size: Size, title: str) -> dict[str, Any]:
        if cell := self.cells.get((size, title)):
            figures = {**asdict(cell), "images_per_second": 1000 / cell.whole_ms}
        else:
            names = (*(each.name for each in fields(Cell)), "images_per_second")
            figures = {**dict.fromkeys(names), "reason": self.failures[size, title]}
        return {"size_wh": size, "detector": title, **figures}

    def _published(self) -> list[str]:
        sizes = [size for size in self.sizes if any(size in each.milliseconds for each in self.published)]
        rows = [
            [
                each.detector,
                each.hardware,
                each.runtime,
                each.covers,
                *(f"{each.milliseconds[size]:.2f}" if size in each.milliseconds else "-" for size in sizes),
            ]
            for each in self.published
        ]
        header = ["detector", "hardware", "runtime", "covers", *map(size_text, sizes)]
        sources = dict.fromkeys(each.source for each in self.published)
        return [
            "Published by others, ms, on other hardware:",
            "",
            *markdown(header, rows, left=4),
            "",
            f"Sources: {', '.join(sources)}",
        ]


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> list[str]:
    """A table whose first `left` columns are text, the others numbers."""
    rule = ["---" if place < left else "---:" for place in range(len(header))]
    return [f"| {' | '.join(row)} |" for row in (header, rule, *rows)]


def _megapixels(size: Size) -> float:
    return size[0] * size[1] / 1e6
