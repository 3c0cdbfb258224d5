"""Frames off a byte stream, however the bytes come."""

import errno
import io
import itertools
import weakref

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facedeploy.runtime.graph import Graph, Stage
from facedeploy.runtime.operator import Work
from facedeploy.runtime.stream import Stream
from facedeploy.video.raw_frames import RawFrames


class Chunks(io.RawIOBase):
    """A stream that gives `data` in reads of these sizes at most, again and again."""

    def __init__(self, data, sizes):
        self.data, self.sizes = memoryview(data), itertools.cycle(sizes)

    def readable(self):
        return True

    def readinto(self, into):
        count = min(next(self.sizes), len(into), len(self.data))
        into[:count], self.data = self.data[:count], self.data[count:]
        return count


def some_bytes(count):
    return np.random.default_rng(count).integers(0, 256, count, np.uint8).tobytes()


@settings(deadline=None)
@given(
    hw=st.tuples(st.integers(1, 6), st.integers(1, 6)),
    count=st.integers(0, 6),
    extra=st.integers(0, 107),
    sizes=st.lists(st.integers(1, 150), min_size=1, max_size=20),
)
def test_frames_are_the_stream_cut_in_equal_parts_when_reads_have_any_size(hw, count, extra, sizes):
    size = hw[0] * hw[1] * 3
    extra %= size
    data = some_bytes(count * size + extra)
    frames = RawFrames(Chunks(data, sizes), hw, "the camera")
    got = list(frames)
    assert [frame.number for frame in got] == list(range(count))
    assert b"".join(frame.pixels.tobytes() for frame in got) == data[: count * size]
    assert all(frame.pixels.shape == (*hw, 3) and frame.pixels.dtype == np.uint8 for frame in got)
    if extra:
        said = f"the camera ends inside frame {count}: got {extra} bytes of the {size} that a frame of {hw[1]}x{hw[0]}"
        assert str(frames.failure).startswith(said)
    else:
        assert frames.failure is None


def test_rows_then_columns_then_blue_green_red():
    (frame,) = RawFrames(io.BytesIO(bytes(range(12))), (2, 2))
    assert frame.pixels[0, 1].tolist() == [3, 4, 5]
    assert frame.pixels[1, 0].tolist() == [6, 7, 8]


def test_frames_before_a_read_that_fails_are_whole():
    class Breaks(Chunks):
        def readinto(self, into):
            if not self.data:
                raise OSError(errno.EIO, "Input/output error")
            return super().readinto(into)

    frames = RawFrames(Breaks(some_bytes(30), [7]), (2, 2))
    assert [frame.number for frame in frames] == [0, 1]
    assert str(frames.failure) == "standard input: cannot be read (Input/output error), after 2 whole frames"


@pytest.mark.parametrize("kept", [0, 3])
def test_only_the_frames_that_somebody_keeps_are_in_memory(kept):
    frames = RawFrames(Chunks(bytes(50 * 12), [5]), (2, 2))
    alive, held, most = weakref.WeakValueDictionary(), [], 0
    for number, pixels in frames:
        alive[number] = pixels
        held = [*held, pixels][-kept:] if kept else []
        del pixels
        most = max(most, len(alive))
    assert most == max(kept, 1)
    assert number == 49


@pytest.mark.parametrize("depth", [1, 4])
def test_producer_that_is_faster_than_the_stages_fills_no_memory(depth):
    """As many frames as are under way, and the one that the reader gave last."""
    alive, most = weakref.WeakValueDictionary(), 0

    def works():
        for number, pixels in RawFrames(Chunks(bytes(300 * 12), [12]), (2, 2)):
            alive[number] = pixels
            yield Work(str(number), pixels)

    def stage(unit):
        nonlocal most
        most = max(most, len(alive))
        return unit

    for work in Stream(Graph([Stage("a", [stage] * 2), Stage("b", [stage])], 1), depth).run_async(works()):
        most = max(most, len(alive))
        del work
    assert most <= depth + 1
    assert len(alive) == 0
