"""Parameters that are drawn: a net that would take too many is refused before any memory is."""

import tracemalloc
from pathlib import Path

import pytest
from small_symbol import Net

from facedeploy.core.errors import CheckpointError
from facedeploy.importers.mxnet.import_mxnet import import_random


def convolution(op: str = "Convolution", bias: bool = False, **attributes: object) -> Net:
    net = Net()
    words = {"kernel": (3, 3), "pad": (1, 1), "num_filter": 4, "no_bias": not bias} | attributes
    names = ("weight", "bias")[: 2 if bias else 1]
    net.add(op, net.data, *[net.variable(f"c_{name}") for name in names], name="c", **words)
    return net


@pytest.mark.parametrize("op", ["Convolution", "Deconvolution"])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(
    ("attributes", "said"),
    [
        ({"num_filter": 2**31 - 1}, "would make [1, 2147483647, 8, 8] of its input [1, 3, 8, 8]: the image is too"),
        ({"num_filter": 10**8}, "would make [1, 100000000, 8, 8] of its input"),
        ({"kernel": (9999, 9999), "pad": (4999, 4999)}, "9999, 9999], and all parameters more than the 134,217,728 nu"),
    ],
)
def test_parameters_that_nobody_has_are_not_drawn(
    tmp_path: Path, op: str, bias: bool, attributes: dict[str, object], said: str
) -> None:
    symbol, _ = convolution(op, bias, **attributes).write(tmp_path)
    tracemalloc.start()
    try:
        with pytest.raises(CheckpointError) as caught:
            import_random(symbol, 0, (1, 3, 8, 8))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert str(caught.value).startswith(f"{symbol}: node c ({op}): ")
    assert said in str(caught.value)
    assert peak < 10 << 20
