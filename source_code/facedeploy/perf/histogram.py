"""A picture of latencies."""

from collections.abc import Sequence

import numpy as np

from facedeploy.image.opencv import cv2
from facedeploy.image.operations import Pixels
from facedeploy.perf.report import LatencyMs

_HW = (480, 960)
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 40, 60, 60  # px around the plot.
_BARS = 80
_TICKS = 7
_BLACK, _BAR = (0, 0, 0), (200, 140, 60)
_MARKS = {"mean": (0, 130, 0), "p50": (180, 0, 0), "p90": (160, 0, 160), "p95": (0, 110, 220), "p99": (0, 0, 210)}


def draw_histogram(samples_ms: Sequence[float], title: str) -> Pixels:
    """(480, 960, 3) u8 BGR: how many of at least one latency (ms, above 0) fall into each bar.

    The axis of latency is logarithmic; lines mark the mean and the percentiles that the samples support.
    """
    height, width = _HW
    picture: Pixels = np.full((height, width, 3), 255, np.uint8)
    edges = np.geomspace(min(samples_ms) * 0.99, max(samples_ms) * 1.01, _BARS + 1)
    counts, _ = np.histogram(samples_ms, edges)
    floor, ceiling = height - _BOTTOM, _TOP

    def x_of(ms: float) -> int:
        share = np.log(ms / edges[0]) / np.log(edges[-1] / edges[0])
        return round(_LEFT + float(share) * (width - _LEFT - _RIGHT))

    def write(text: str, xy: tuple[int, int], color: tuple[int, int, int] = _BLACK) -> None:
        cv2.putText(picture, text, xy, cv2.FONT_HERSHEY_SIMPLEX, 0.45, color, 1, cv2.LINE_AA)

    for count, left, right in zip(counts, edges[:-1], edges[1:], strict=True):
        if count:
            top = round(floor - (floor - ceiling) * count / counts.max())
            cv2.rectangle(picture, (x_of(left), top), (max(x_of(left), x_of(right) - 2), floor), _BAR, -1)
    cv2.line(picture, (_LEFT, floor), (width - _RIGHT, floor), _BLACK, 1)
    for tick in np.geomspace(edges[0], edges[-1], _TICKS):
        cv2.line(picture, (x_of(tick), floor), (x_of(tick), floor + 5), _BLACK, 1)
        write(f"{tick:.0f}" if tick >= 100 else f"{tick:.3g}", (x_of(tick) - 15, floor + 22))
    write("latency, ms", (width // 2 - 40, height - 12))
    write(f"{counts.max()}", (8, ceiling + 5))
    write("0", (8, floor))
    write(title, (_LEFT, 18))
    latency = LatencyMs.of(samples_ms)
    for column, (name, color) in enumerate(_MARKS.items()):
        value = getattr(latency, name)
        if value is not None:
            cv2.line(picture, (x_of(value), ceiling), (x_of(value), floor), color, 1)
            write(f"{name} {value:.3f}", (_LEFT + 160 * column, 42), color)
    return picture
