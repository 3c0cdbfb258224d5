"""3x3 kernels and what Winograd's F(4x4, 3x3) makes of them: 36 numbers of 9.

Source: Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", arXiv:1509.09308.
"""

import numpy as np

from facedeploy.artifact.half import FloatArray

# The transform of a kernel's rows, and of its columns; of both at once: (36, 9).
G = np.array(
    [
        [1 / 4, 0, 0],
        [-1 / 6, -1 / 6, -1 / 6],
        [-1 / 6, 1 / 6, -1 / 6],
        [1 / 24, 1 / 12, 1 / 6],
        [1 / 24, -1 / 12, 1 / 6],
        [0, 0, 1],
    ]
)
TRANSFORM = np.kron(G, G)
POINTS, TAPS = TRANSFORM.shape
_TOLERANCE = 1e-6  # Of the largest number: float32 transforms are off by some 1e-7 of it.


def transform(kernels: FloatArray, out: FloatArray) -> None:
    """(9, N) -> (36, N)."""
    np.matmul(TRANSFORM.astype(np.float32), kernels, out=out)


def kernels_of(transforms: FloatArray) -> FloatArray | None:
    """(36, N) float32 -> the (9, N) that it is the transform of, as near as float32 tells; None when it is of none."""
    exact = np.linalg.pinv(TRANSFORM) @ transforms
    error = np.abs(TRANSFORM @ exact - transforms).max(initial=0.0)
    return exact.astype(np.float32) if error <= _TOLERANCE * np.abs(transforms).max(initial=0.0) else None
