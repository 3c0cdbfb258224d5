"""The numbers of a file that become float32."""

import math

import numpy as np
import pytest

from facedeploy.core.float32 import LARGEST, is_float32


@pytest.mark.parametrize("number", [0.0, -1.5, LARGEST, -LARGEST, 1e-300])
def test_number_that_stays_finite(number):
    assert is_float32(number)
    with np.errstate(over="raise"):
        assert np.isfinite(np.float32(number))


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf, 3.5e38, -1e300])
def test_number_that_does_not(number):
    assert not is_float32(number)
