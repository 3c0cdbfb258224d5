import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from facedeploy.core.detections import Detections
from facedeploy.core.errors import DataError
from facedeploy.video.json_lines import json_line

finite = st.floats(width=32, allow_nan=False, allow_infinity=False)


@st.composite
def detections(draw):
    count = draw(st.integers(0, 4))
    shapes = (count, 4), (count,), (count, 5, 2)
    return Detections(*(draw(arrays(np.float32, shape, elements=finite)) for shape in shapes))


@given(frame=st.integers(0, 10**9), found=detections())
def test_a_line_reads_back_to_the_bit(frame, found):
    line = json_line(frame, found)
    assert line.endswith(b"}\n")
    assert line.count(b"\n") == 1
    read = json.loads(line)
    assert list(read) == ["frame", "boxes", "scores", "landmarks"]
    assert read["frame"] == frame
    for name, width in (("boxes", (4,)), ("scores", ()), ("landmarks", (5, 2))):
        assert len(read[name]) == len(found)
        array = np.array(read[name], np.float32).reshape(-1, *width)
        assert array.tobytes() == getattr(found, name).tobytes(), name


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_numbers_that_json_does_not_have_are_refused(bad):
    found = Detections(np.full((1, 4), bad, np.float32), np.zeros(1, np.float32), np.zeros((1, 5, 2), np.float32))
    with pytest.raises(DataError, match="frame 7: a detection is not finite"):
        json_line(7, found)
