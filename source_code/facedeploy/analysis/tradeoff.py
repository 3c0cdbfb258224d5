"""What builds of one model lose and gain against fp32, side by side."""

from collections.abc import Sequence
from dataclasses import dataclass

AP = tuple[float, float, float]  # Easy, medium, hard, 0..1.


@dataclass(frozen=True)
class Point:
    """A build: `name`, its AP, what it loses (AP points, of the difficulty that loses most), its speed.

    `milliseconds` are of one inference; `ratio` is fp32's time over it, of rounds in which both took turns; the front
    goes by that.
    """

    name: str
    ap: AP
    drop: float
    milliseconds: float
    ratio: float


def drop_of(ap: AP, reference: AP) -> float:
    """AP points that are lost where most are lost; below 0 where all are gains."""
    return 100 * max(before - after for before, after in zip(reference, ap, strict=True))


def percent(ap: AP) -> str:
    """As `89.10 / 83.03 / 54.37`."""
    return " / ".join(f"{100 * value:.2f}" for value in ap)


def pareto(points: Sequence[Point]) -> list[bool]:
    """Whether each is on the front: no other loses as little and is as fast, and better in one of both."""
    return [not any(_dominates(other, point) for other in points) for point in points]


def _dominates(one: Point, other: Point) -> bool:
    return one.drop <= other.drop and one.ratio >= other.ratio and (one.drop, one.ratio) != (other.drop, other.ratio)


def table(points: Sequence[Point]) -> list[str]:
    """Lines: a head, a row for each point, what the marks mean."""
    width = max(len("in float"), *(len(point.name) for point in points))
    lines = [f"{'in float':>{width}}  {'AP easy / medium / hard':24}  {'drop':>6}  {'ms':>8}  {'x fp32':>6}"]
    for point, best in zip(points, pareto(points), strict=True):
        measured = f"{point.drop:6.2f}  {point.milliseconds:8.2f}  {point.ratio:6.2f}"
        lines.append(f"{point.name:>{width}}  {percent(point.ap):24}  {measured}{'  *' if best else ''}")
    return [
        *lines,
        "drop: AP points against fp32, the largest of three; ms: 1 thread, at fp32's median pace; *: none of these "
        "loses as little, is as fast, and is better in one",
    ]
