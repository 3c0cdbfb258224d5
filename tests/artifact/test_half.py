"""float32 in 16 bits, against numpy's float16 and torch's bfloat16."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from facedeploy.artifact.half import STORAGE, Half, from_half, to_half

BITS = arrays(np.uint32, st.integers(0, 50), elements=st.integers(0, 2**32 - 1))
# Numbers whose lower half is a tie, or one off it: there rounding goes wrong first.
TIES = st.builds(
    lambda upper, off: np.array([(upper << 16) + 0x8000 + off], np.uint32),
    st.integers(0, 2**16 - 1),
    st.integers(-1, 1),
)


def restored(numbers: np.ndarray, half: Half) -> np.ndarray:
    out = np.full(numbers.shape, -1, np.float32)
    from_half(to_half(numbers, half), half, out)
    return out


@given(BITS | TIES)
def test_bfloat16_is_torch_s(bits: np.ndarray) -> None:
    numbers = bits.view(np.float32)
    expected = torch.from_numpy(numbers.copy()).to(torch.bfloat16)
    stored = to_half(numbers, "bfloat16")
    assert stored.dtype == STORAGE["bfloat16"]
    known = ~np.isnan(numbers)  # Of the many that are no number, torch has several.
    np.testing.assert_array_equal(stored[known], expected.view(torch.int16).numpy().view(np.uint16)[known])
    np.testing.assert_array_equal(restored(numbers, "bfloat16"), expected.float().numpy())


@given(BITS | TIES)
def test_float16_is_torch_s(bits: np.ndarray) -> None:
    numbers = bits.view(np.float32)
    expected = torch.from_numpy(numbers.copy()).to(torch.float16)
    assert to_half(numbers, "float16").dtype == STORAGE["float16"]
    np.testing.assert_array_equal(restored(numbers, "float16"), expected.float().numpy())


@pytest.mark.parametrize(("half", "digits"), [("float16", 11), ("bfloat16", 8)])
def test_what_was_half_before_comes_back(half: Half, digits: int) -> None:
    every = np.arange(2**16, dtype=np.uint16).view(STORAGE[half])
    numbers = np.empty(every.shape, np.float32)
    from_half(every, half, numbers)
    finite = np.isfinite(numbers)
    np.testing.assert_array_equal(to_half(numbers, half)[finite], every[finite])
    # The distance of 1 and the number that follows says which format it is.
    assert numbers[numbers > 1].min() == 1 + 2.0 ** (1 - digits)


@pytest.mark.parametrize(
    ("half", "largest", "past"),
    [("float16", 65519.99, 65520.0), ("bfloat16", 3.3961e38, 3.3962e38)],
)
def test_numbers_past_the_range_become_infinite_without_a_warning(half: Half, largest: float, past: float) -> None:
    numbers = restored(np.array([largest, past, -past, np.inf], np.float32), half)
    assert np.isfinite(numbers).tolist() == [True, False, False, False]
    assert numbers[2] == -np.inf
