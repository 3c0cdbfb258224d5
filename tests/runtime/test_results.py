"""Outputs are lent again only when nobody can see them any more."""

import gc

import numpy as np
import pytest

from facedeploy.core.tensor_spec import TensorSpec
from facedeploy.runtime.results import Results, in_use

HOLD = {
    "the array": lambda array: array,
    "a slice": lambda array: array[0, 1:],
    "a slice of a slice": lambda array: array[:, 1:][:1],
    "other shape and type": lambda array: array.reshape(-1).view(np.uint32)[::2],
    "a transposed view": lambda array: array.T,
    "memory": memoryview,
    "dlpack": np.from_dlpack,
    "an iterator": lambda array: array.flat,
    "a subclass": lambda array: array[:1].view(np.matrix),
    "asarray": lambda array: np.asarray(array)[1:],
    "a closure": lambda array: lambda: array,
}


@pytest.fixture
def results():
    return Results([TensorSpec("a", (2, 3), "float32"), TensorSpec("b", (5,), "int64")])


def test_arrays_have_their_shapes_and_do_not_overlap(results):
    a, b = results.arrays.values()
    assert (a.shape, a.dtype, b.shape, b.dtype) == ((2, 3), np.float32, (5,), np.int64)
    assert a.ctypes.data % 64 == b.ctypes.data % 64 == 0
    assert not np.shares_memory(a, b)
    assert np.shares_memory(a, results.memory)
    assert np.shares_memory(b, results.memory)


@pytest.mark.parametrize("kind", HOLD)
def test_what_somebody_holds_is_in_use(results, kind):
    assert not in_use(results.watched, results.unused)
    held = HOLD[kind](results.arrays["a"])
    assert in_use(results.watched, results.unused)
    del held
    gc.collect()
    assert not in_use(results.watched, results.unused)


def test_a_dict_of_the_arrays_is_in_use_until_it_is_gone(results):
    lent = results.arrays.copy()
    assert in_use(results.watched, results.unused)
    lent.pop("a")
    assert in_use(results.watched, results.unused)
    del lent
    assert not in_use(results.watched, results.unused)
