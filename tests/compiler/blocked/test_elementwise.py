"""Blocked arithmetic equals numpy's, halo and unused lanes included, on every level this machine has."""

import numpy as np
import pytest
from arithmetic import NUMBERS, ORACLES
from runner import FloatArray, random, run, targets

from facedeploy.compiler.kernels.blocked.elementwise import FUNCTIONS, elementwise
from facedeploy.compiler.kernels.blocked.layout import Blocked, block_of, from_blocked, pack_bias, to_blocked
from facedeploy.compiler.target import Target

TARGETS = targets()
level = pytest.mark.parametrize("target", TARGETS, ids=[target.name for target in TARGETS])


def check(
    target: Target, operator: str, arrays: list[FloatArray], expected: FloatArray, channels: FloatArray | None = None
) -> None:
    layouts = [
        Blocked(*array.shape, block_of(array.shape[1]), index)  # type: ignore[misc]
        for index, array in enumerate([*arrays, expected])
    ]
    output = layouts.pop()
    constants = [] if channels is None else [pack_bias(channels, output.block)]
    function = elementwise("arithmetic", operator, NUMBERS.get(operator, ()), layouts, len(constants), output)
    arguments = [to_blocked(array, layout) for array, layout in zip(arrays, layouts, strict=True)]
    (got,) = run(function, target, [*arguments, *constants], [output.shape])
    values = from_blocked(got, output)
    assert np.abs(values - expected).max() <= 1e-5 * max(1.0, float(np.abs(expected).max()))
    assert np.array_equal(to_blocked(values, output), got)


@level
@pytest.mark.parametrize("operator", FUNCTIONS)
@pytest.mark.parametrize("shape", [(2, 3, 5, 7), (1, 35, 4, 9)])
def test_operator_equals_numpy(target: Target, operator: str, shape: tuple[int, ...]) -> None:
    operands, oracle = ORACLES[operator]
    x, y = random(shape) * 3, np.abs(random(shape, 1)) + np.float32(0.5)
    if operands == 1:
        check(target, operator, [x], oracle(x))
        return
    if operator != "relax.nn.prelu":
        check(target, operator, [x, y], oracle(x, y))
    channels = y[0, :, 0, 0].copy()
    check(target, operator, [x], oracle(x, channels[:, None, None]), channels)


@level
@pytest.mark.parametrize("factors", [(2, 2), (1, 3), (8, 12)])
def test_small_operand_covers_many_pixels(target: Target, factors: tuple[int, int]) -> None:
    x, small = random((2, 20, 8, 12)), random((2, 20, 8 // factors[0], 12 // factors[1]), 1)
    large = small.repeat(factors[0], 2).repeat(factors[1], 3)
    check(target, "relax.add", [x, small], x + large)
    check(target, "relax.multiply", [small, x], x * large)
    check(target, "relax.image.resize2d", [small], large)
