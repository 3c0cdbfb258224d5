"""What Winograd's algorithm does along one axis, for strides of 1 and 2: four outputs of a kernel of three taps."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from tvm.tirx.script.builder import ir as T

from facedeploy.artifact.winograd import G
from facedeploy.compiler.kernels.blocked.emit import splat

OUT = 4  # Output pixels of a tile, a side.

Transform = Callable[[Sequence[Any], int], list[Any]]


@dataclass(frozen=True)
class Scheme:
    """A tile of `inputs` pixels becomes as many products as `taps` has entries, and these become `OUT` pixels.

    `kernel` (rows, 3) transforms the taps; the product of point i is of its row `taps[i]`. Transforms take vectors of
    so many lanes.
    """

    stride: int
    inputs: int
    kernel: npt.NDArray[np.float64]
    taps: tuple[int, ...]
    transform_input: Transform
    transform_output: Transform

    @property
    def points(self) -> int:
        """Of both axes."""
        return len(self.taps) ** 2

    @property
    def weights(self) -> int:
        """Numbers that a 3x3 kernel becomes."""
        return len(self.kernel) ** 2

    def weight_of(self, point: Any) -> Any:
        """Which of them a point, counted over both axes, is multiplied with."""
        rows, points = len(self.kernel), len(self.taps)
        if rows == points:
            return point
        return T.min(point // points, rows - 1) * rows + T.min(point % points, rows - 1)


def _input_of_stride_1(d: Sequence[Any], lanes: int) -> list[Any]:
    """F(4, 3), sums shared."""
    four, five, two = (splat(value, lanes) for value in (4.0, 5.0, 2.0))
    even = T.Bind(d[4] - four * d[2])
    odd = T.Bind(d[3] - four * d[1])
    outer = T.Bind(d[4] - d[2])
    inner = T.Bind(two * (d[3] - d[1]))
    return [
        T.Bind(four * d[0] + (d[4] - five * d[2])),
        T.Bind(even + odd),
        T.Bind(even - odd),
        T.Bind(outer + inner),
        T.Bind(outer - inner),
        T.Bind(four * d[1] + (d[5] - five * d[3])),
    ]


def _output_of_stride_1(m: Sequence[Any], lanes: int) -> list[Any]:
    two, four, eight = (splat(value, lanes) for value in (2.0, 4.0, 8.0))
    near_sum, near_difference = T.Bind(m[1] + m[2]), T.Bind(m[1] - m[2])
    far_sum, far_difference = T.Bind(m[3] + m[4]), T.Bind(m[3] - m[4])
    return [
        T.Bind(m[0] + near_sum + far_sum),
        T.Bind(near_difference + two * far_difference),
        T.Bind(near_sum + four * far_sum),
        T.Bind(near_difference + eight * far_difference + m[5]),
    ]


def _input_of_stride_2(d: Sequence[Any], lanes: int) -> list[Any]:
    """Every other pixel by F(4, 2) at 0, 1, -1, 2 and infinity, since two taps see them; the others as they are."""
    two = splat(2.0, lanes)
    first, second, third, fourth, last = d[::2]
    ends, near = T.Bind(fourth - second), T.Bind(fourth - third)
    return [
        T.Bind(two * (first - third) + ends),
        T.Bind(near - two * second),
        T.Bind(near + two * (second - third)),
        ends,
        T.Bind((last - third) - two * ends),
        *d[1::2],
    ]


def _output_of_stride_2(m: Sequence[Any], lanes: int) -> list[Any]:
    two, four, eight = (splat(value, lanes) for value in (2.0, 4.0, 8.0))
    total, difference = T.Bind(m[1] + m[2]), T.Bind(m[1] - m[2])
    return [
        T.Bind(m[0] + total + m[3] + m[5]),
        T.Bind(difference + two * m[3] + m[6]),
        T.Bind(total + four * m[3] + m[7]),
        T.Bind(difference + eight * m[3] + m[4] + m[8]),
    ]


KERNEL_OF_STRIDE_2 = np.array(
    [
        [1 / 2, 0, 0],
        [-1 / 2, 0, -1 / 2],
        [-1 / 6, 0, 1 / 6],
        [1 / 6, 0, 1 / 3],
        [0, 0, 1],
        [0, 1, 0],
    ]
)
SCHEMES = {
    1: Scheme(1, 6, G, tuple(range(6)), _input_of_stride_1, _output_of_stride_1),
    2: Scheme(2, 9, KERNEL_OF_STRIDE_2, (0, 1, 2, 3, 4, 5, 5, 5, 5), _input_of_stride_2, _output_of_stride_2),
}
