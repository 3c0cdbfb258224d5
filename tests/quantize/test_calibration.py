"""What calibration found keeps its numbers in a file."""

import io
import json
import math

import numpy as np
import pytest

from facedeploy.quantize.calibration import Calibration, TensorRange
from facedeploy.quantize.moments import Moments

RANGES = {"a": TensorRange((-1 / 3, -0.0), (0.1, 7e-12)), "b": TensorRange((0.0,), (1.0,))}
MOMENTS = {
    3: Moments(np.float32([[1 / 3, -2]]), np.float32([[[1, 0.1], [0.1, 7e-12]]])),
    11: Moments(np.zeros((2, 1), np.float32), np.ones((2, 1, 1), np.float32)),
}
FOUND = Calibration("mse", 131, "c0ffee", RANGES, MOMENTS)


def test_file_returns_every_number_exactly():
    again = Calibration.from_bytes(FOUND.to_bytes())
    assert (again.method, again.samples, again.content_hash, again.ranges) == ("mse", 131, "c0ffee", RANGES)
    assert list(again.moments) == list(MOMENTS)
    for index, moments in MOMENTS.items():
        np.testing.assert_array_equal(again.moments[index].mean, moments.mean)
        np.testing.assert_array_equal(again.moments[index].covariance, moments.covariance)
    assert again.to_bytes() == FOUND.to_bytes()


@pytest.mark.parametrize(
    ("low", "high"),
    [((), ()), ((0,), (1, 2)), ((0.5,), (1,)), ((-1,), (-0.5,)), ((math.nan,), (1,)), ((0,), (math.inf,))],
)
def test_range_without_zero_or_end_is_refused(low, high):
    with pytest.raises(ValueError, match=r"hold 0|ends"):
        TensorRange(low, high)


@pytest.mark.parametrize(
    "damage",
    [
        lambda entries: entries.pop("ranges"),
        lambda entries: entries.update(samples="x"),
        lambda entries: entries.update(moments=[5]),
    ],
)
def test_damaged_entries_are_refused(damage):
    arrays = dict(np.load(io.BytesIO(FOUND.to_bytes())))
    entries = json.loads(str(arrays["json"]))
    damage(entries)
    file = io.BytesIO()
    np.savez(file, **(arrays | {"json": np.array(json.dumps(entries))}))
    with pytest.raises((ValueError, KeyError)):
        Calibration.from_bytes(file.getvalue())


@pytest.mark.parametrize("content", [b"", b"{", FOUND.to_bytes()[:-30]])
def test_other_files_are_refused(content):
    with pytest.raises(ValueError, match=r"npz|pickle|file"):
        Calibration.from_bytes(content)
