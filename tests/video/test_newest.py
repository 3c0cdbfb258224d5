"""Frames that come faster than they are taken; who is faster is settled by events, not by the clock."""

import itertools
import threading

import pytest

from facedeploy.runtime.graph import Graph, Stage
from facedeploy.runtime.operator import Work
from facedeploy.runtime.stream import Stream
from facedeploy.video.frame import Frame
from facedeploy.video.newest import Newest

PATIENCE_SECONDS = 20


class Camera:
    """Sends frames in bursts: the frames of one, then nothing until `send` asks for the next."""

    def __init__(self, *bursts):
        self.bursts = bursts
        self.asked, self.sent = threading.Semaphore(0), threading.Semaphore(0)

    def __iter__(self):
        number = itertools.count()
        for burst in self.bursts:
            assert self.asked.acquire(timeout=PATIENCE_SECONDS)
            for _ in range(burst):
                yield Frame(next(number), None)
            self.sent.release()  # Reached once the last of them is taken over.

    def send(self):
        self.asked.release()
        assert self.sent.acquire(timeout=PATIENCE_SECONDS)


def test_frames_that_a_newer_one_has_overtaken_are_dropped_and_counted():
    camera = Camera(4, 1, 0, 7)
    newest = Newest(camera)
    frames = iter(newest)
    taken = []
    # Each burst has come before the next frame is taken; a generator that has not started reads nothing.
    camera.asked.release()
    taken.append(next(frames).number)  # Whichever of the first burst: its thread starts here.
    assert camera.sent.acquire(timeout=PATIENCE_SECONDS)
    if taken[-1] != 3:
        taken.append(next(frames).number)
    assert taken[-1] == 3
    camera.send()
    taken.append(next(frames).number)
    camera.send()
    camera.send()
    taken.extend(frame.number for frame in frames)
    assert taken[-2:] == [4, 11]
    assert newest.dropped == 12 - len(taken)


def test_nothing_is_dropped_when_each_frame_is_taken_before_the_next_comes():
    taken = threading.Semaphore(1)

    def camera():
        for number in range(20):
            assert taken.acquire(timeout=PATIENCE_SECONDS)
            yield Frame(number, None)

    newest, numbers = Newest(camera()), []
    for frame in newest:
        numbers.append(frame.number)
        taken.release()
    assert numbers == list(range(20))
    assert newest.dropped == 0


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_a_slow_model_gets_the_newest_frame_each_time_there_is_room(depth):
    """While the model works on one frame, ten others come: a stream of `depth` has taken in the first of them."""
    bursts = 8
    camera = Camera(*[10] * bursts)
    newest = Newest(camera)
    proceed = threading.Semaphore(0)

    def model(unit):
        assert proceed.acquire(timeout=PATIENCE_SECONDS)
        return unit

    results = Stream(Graph([Stage("infer", [model])], 1), depth).run_async(Work(str(n), None) for n, _ in newest)
    got = []
    consumer = threading.Thread(target=lambda: got.extend(int(work.name) for work in results))
    consumer.start()
    for _ in range(bursts):
        camera.send()
    for _ in range(10 * bursts):  # More than there can be left.
        proceed.release()
    consumer.join(PATIENCE_SECONDS)
    assert not consumer.is_alive()
    assert got == sorted(set(got))
    assert got[-1] == 10 * bursts - 1, "the last frame is never dropped"
    assert len(got) <= depth + 1, "those in the stream, and the newest"
    assert newest.dropped == 10 * bursts - len(got)


def test_one_frame_waits_however_many_come():
    made, freed = [], []

    class Pixels:
        def __init__(self):
            made.append(None)

        def __del__(self):
            freed.append(None)

    most = 0

    def camera():
        nonlocal most
        for number in range(1000):
            yield Frame(number, Pixels())
            most = max(most, len(made) - len(freed))

    newest = Newest(camera())
    numbers = [frame.number for frame in newest]
    assert numbers[-1] == 999
    assert most <= 4, "one that waits, one in each hand, one being made"


def test_error_of_the_camera_is_raised_after_its_frames():
    def breaks():
        yield Frame(0, None)
        raise OSError("the camera is gone")

    got = []
    with pytest.raises(OSError, match="the camera is gone"):
        for frame in Newest(breaks()):
            got.append(frame.number)
    assert got == [0]


def test_reading_ends_when_nobody_takes_frames_any_more():
    ended = threading.Event()

    def endless():
        try:
            for number in itertools.count():
                yield Frame(number, None)
        finally:
            ended.set()

    frames = iter(Newest(endless()))
    next(frames)
    frames.close()
    assert ended.wait(PATIENCE_SECONDS)
