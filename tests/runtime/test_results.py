"""Outputs are lent again only when nobody can see them any more."""

import gc
import itertools
import threading

import numpy as np
import pytest

from facedeploy.core.tensor_spec import TensorSpec
from facedeploy.runtime.results import Pool, Results, in_use

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


@pytest.fixture
def pool():
    return Pool([TensorSpec("a", (4,), "float32")], most=3)


def address(array):
    return array.ctypes.data


def test_pool_lends_again_what_nobody_holds(pool):
    (array,), _ = pool.take()
    first = address(array)
    view = array[1:]
    del array
    (other,), _ = pool.take()
    assert address(other) != first
    del view
    (again,), _ = pool.take()
    assert address(again) == first


def test_pool_never_lends_what_somebody_holds(pool):
    held = [pool.take() for _ in range(10)]
    assert len({address(array) for (array,), _ in held}) == 10
    for number, ((array,), _) in enumerate(held):
        array[:] = number
    assert [array.tolist() for (array,), _ in held] == [[number] * 4 for number in range(10)]


def test_pool_gives_tensors_of_its_arrays(pool):
    (array,), (tensor,) = pool.take()
    array[:] = range(4)
    assert np.from_dlpack(tensor).tolist() == [0, 1, 2, 3]


def test_threads_do_not_share_what_a_pool_lends(pool):
    numbers, wrong = itertools.count(), []

    def work():
        for _ in range(500):
            (array,), _ = pool.take()
            number = next(numbers)
            array[:] = number
            if not (array == number).all():
                wrong.append(number)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
