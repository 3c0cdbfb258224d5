"""The compiled normalization equals the numpy one to the bit."""

import numpy as np
import pytest
import tvm
from hypothesis import given, settings
from hypothesis import strategies as st

from facedeploy.compiler.kernels.normalize import normalize
from facedeploy.compiler.target import Target
from facedeploy.core.normalization import Normalization
from facedeploy.image import operations

CANVAS_HW = (16, 17)

# Every value of a byte in every channel, each channel in another order.
_BYTES = np.resize(np.arange(256, dtype=np.uint8), 2 * 16 * 17)
PIXELS = np.stack([_BYTES, _BYTES[::-1], np.roll(_BYTES, 100)], axis=1).reshape(2, *CANVAS_HW, 3)

MEAN, STD = (104.0, 117.0, 123.0), (57.375, 57.12, 58.395)
KINDS = {
    "EQUAL": Normalization.of("EQUAL", "RGB"),
    "DIV255": Normalization.of("DIV255", "RGB"),
    "DIV1275_MINUSONE": Normalization.of("DIV1275_MINUSONE", "RGB"),
    "MINUSMEAN_DIVSTD": Normalization.of("MINUSMEAN_DIVSTD", "BGR", MEAN, STD),
    "MINUSMEAN_DIVSTD, std 1": Normalization.of("MINUSMEAN_DIVSTD", "BGR", MEAN, (1.0, 1.0, 1.0)),
    "DIV255_MINUSMEAN_DIVSTD": Normalization.of(
        "DIV255_MINUSMEAN_DIVSTD", "RGB", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    ),
}


def check_equal(normalization: Normalization, target: Target) -> None:
    kernel = normalize(normalization, len(PIXELS), CANVAS_HW).with_attr("global_symbol", "normalize")
    compiled = tvm.compile(tvm.IRModule({"normalize": kernel}), target=target.tvm_target)["normalize"]
    tensor = tvm.runtime.empty((len(PIXELS), 3, *CANVAS_HW), "float32")
    compiled(tvm.runtime.tensor(PIXELS), tensor)
    expected = np.stack([operations.normalize(canvas, normalization) for canvas in PIXELS])
    np.testing.assert_array_equal(tensor.numpy().view(np.uint32), expected.view(np.uint32))


@pytest.mark.parametrize("kind", KINDS)
def test_normalize_equals_numpy_to_the_bit(target: Target, kind: str) -> None:
    check_equal(KINDS[kind], target)


TRIPLES = st.tuples(*[st.floats(-300, 300, width=32)] * 3)
POSITIVE = st.tuples(*[st.floats(0.015625, 300, width=32)] * 3)


@settings(deadline=None, max_examples=15)
@given(mean=TRIPLES, std=POSITIVE, scale=st.sampled_from([1.0, 2.0, 3.0, 127.5, 255.0]))
def test_normalize_equals_numpy_to_the_bit_whatever_the_numbers(
    target: Target, mean: tuple[float, float, float], std: tuple[float, float, float], scale: float
) -> None:
    check_equal(Normalization("BGR", mean, std, scale), target)
