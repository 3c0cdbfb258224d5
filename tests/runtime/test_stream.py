"""The stream's promises, with operators that only sleep: order, bounds, errors, ends."""

import itertools
import os
import random
import signal
import threading
import time
from contextlib import closing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facedeploy.core.errors import ImageError
from facedeploy.runtime.graph import Graph, Stage
from facedeploy.runtime.meter import StreamMeter
from facedeploy.runtime.operator import Work
from facedeploy.runtime.stream import Stream


@pytest.fixture(autouse=True)
def no_thread_is_left():
    before = set(threading.enumerate())
    yield
    for thread in set(threading.enumerate()) - before:
        thread.join(5)
    assert set(threading.enumerate()) <= before


def source(count):
    return [Work(str(number), None) for number in range(count)]


def names(works):
    return [work.name for work in works]


def passes(unit):
    return unit


def stages(*operators):
    return [Stage(f"stage {number}", [operator]) for number, operator in enumerate(operators)]


def sleeper(stage, lane, longest):
    """An operator that takes any time up to `longest` s, and notes in `canvas` that its stage was passed."""
    dice = random.Random(10 * stage + lane)

    def operator(unit):
        time.sleep(dice.random() * longest)
        for work in unit:
            work.slots = (*(work.slots or ()), stage)
        return unit

    return operator


@settings(deadline=None, max_examples=40)
@given(
    count=st.integers(0, 23),
    batch=st.integers(1, 5),
    operators=st.lists(st.integers(1, 4), min_size=1, max_size=4),
    depth=st.none() | st.integers(1, 6),
    longest=st.sampled_from([0, 0.002]),
)
def test_async_equals_sync_when_stages_take_any_time(count, batch, operators, depth, longest):
    graph = Graph(
        [
            Stage(str(stage), [sleeper(stage, lane, longest) for lane in range(lanes)])
            for stage, lanes in enumerate(operators)
        ],
        batch,
    )
    stream = Stream(graph, depth)
    results = list(stream.run_async(iter(source(count))))
    assert results == list(stream.run_sync(source(count)))
    assert names(results) == [str(number) for number in range(count)]
    assert all(work.slots == tuple(range(len(operators))) for work in results)


@pytest.mark.parametrize(("count", "batch", "sizes"), [(0, 3, []), (2, 5, [2]), (7, 3, [3, 3, 1]), (6, 3, [3, 3])])
def test_units_are_as_large_as_the_batch_but_the_last(count, batch, sizes):
    seen = []

    def count_them(unit):
        seen.append(len(unit))
        return unit

    assert names(Stream(Graph(stages(count_them), batch)).run_async(source(count))) == names(source(count))
    assert seen == sizes


@pytest.mark.parametrize("depth", [1, 2, 5])
@pytest.mark.parametrize("slow", ["consumer", "stage"])
def test_no_more_than_depth_units_are_under_way(depth, slow):
    drawn, most, batch, done = itertools.count(), 0, 2, 0
    latest = -1

    def counted():
        nonlocal latest
        for work in source(60):
            latest = next(drawn)
            yield work

    def stage(unit):
        if slow == "stage":
            time.sleep(0.001)
        return unit

    graph = Graph([Stage("a", [stage] * 3), Stage("b", [stage] * 2)], batch)
    for done, _ in enumerate(Stream(graph, depth).run_async(counted())):
        time.sleep(0.002 if slow == "consumer" else 0)
        # The unit of the image in hand is not done with yet.
        most = max(most, latest // batch - done // batch + 1)
    assert done == 59
    assert most == depth if slow == "consumer" else most <= depth


@pytest.mark.parametrize("new_meter", [lambda: None, StreamMeter])
def test_a_unit_that_the_consumer_is_done_with_is_freed(new_meter):
    """Also while it is measured."""
    made, freed, most = [], [], 0

    class Pixels:
        def __init__(self):
            made.append(None)

        def __del__(self):
            freed.append(None)

    graph = Graph([Stage("a", [passes] * 3), Stage("b", [passes] * 3)], 1)
    works = (Work("", Pixels()) for _ in range(50))
    for work in Stream(graph, 4).run_async(works, meter=new_meter()):
        del work
        time.sleep(0.001)
        most = max(most, len(made) - len(freed))
    assert most <= 4
    assert len(made) == len(freed) == 50


def test_operators_of_a_stage_work_at_the_same_time():
    meeting = threading.Barrier(3, timeout=10)

    def meet(unit):
        meeting.wait()
        return unit

    assert names(Stream(Graph([Stage("s", [meet] * 3)], 1)).run_async(source(9))) == names(source(9))


def test_stages_work_at_the_same_time():
    next_is_decoded = threading.Event()

    def decode(unit):
        if unit[0].name == "1":
            next_is_decoded.set()
        return unit

    def infer(unit):
        assert next_is_decoded.wait(10)
        return unit

    assert names(Stream(Graph(stages(decode, infer), 1)).run_async(source(4))) == names(source(4))


def test_error_of_an_image_does_not_stop_the_run():
    def decode(unit):
        for work in unit:
            if int(work.name) % 3 == 0:
                work.error = ImageError(work.name)
        return unit

    results = list(Stream(Graph(stages(decode, passes), 2)).run_async(source(10)))
    assert [work.name for work in results if work.error] == ["0", "3", "6", "9"]
    assert len(results) == 10


@pytest.mark.parametrize("where", [0, 1, 2])
def test_bug_of_an_operator_is_raised_in_its_turn(where):
    def bug(unit):
        if unit[0].name == "4":
            raise ZeroDivisionError("a bug")
        time.sleep(0.002 * random.random())
        return unit

    operators = [passes] * 3
    operators[where] = bug
    got = []
    with pytest.raises(ZeroDivisionError, match="a bug"):
        for work in Stream(Graph([Stage("s", [operator] * 2) for operator in operators], 2)).run_async(source(20)):
            got.append(work.name)
    assert got == ["0", "1", "2", "3"]


@pytest.mark.parametrize("way", ["run_sync", "run_async"])
@pytest.mark.parametrize("batch", [1, 2, 3, 5, 8])
@pytest.mark.parametrize("count", [0, 1, 5])
def test_error_of_the_source_is_raised_after_all_that_it_gave_before(way, batch, count):
    def breaks():
        yield from source(count)
        raise OSError("the camera is gone")

    got = []
    with pytest.raises(OSError, match="the camera is gone"):
        for work in getattr(Stream(Graph(stages(passes, passes), batch)), way)(breaks()):
            got.append(work.name)
    assert got == names(source(count))


def test_source_that_is_no_iterable_is_an_error_and_no_hang():
    with pytest.raises(TypeError, match="not iterable"):
        list(Stream(Graph(stages(passes), 1)).run_async(None))


def test_source_is_endless_and_slow():
    def camera():
        for number in itertools.count():
            time.sleep(0.001)
            yield Work(str(number), None)

    results = Stream(Graph(stages(passes, passes), 1)).run_async(camera())
    assert names(itertools.islice(results, 5)) == ["0", "1", "2", "3", "4"]
    results.close()


@pytest.mark.parametrize("how", ["closed", "consumer raises", "source raises", "operator raises"])
def test_run_that_ends_early_cancels_what_operators_wait_for(how):
    released, begun, canceled = threading.Event(), threading.Event(), []

    def cancel():
        canceled.append(how)
        released.set()

    def waits(unit):
        if unit[0].name == "5":
            begun.set()
            assert released.wait(30)  # What nobody but `cancel` ends.
        return unit

    def breaks(unit):
        if how == "operator raises" and unit[0].name == "3":
            begun.wait(30)
            raise ZeroDivisionError
        return unit

    def works():
        yield from source(7)
        begun.wait(30)
        if how == "source raises":
            raise ZeroDivisionError

    def consume():
        graph = Graph([Stage("a", [waits] * 2), Stage("b", [breaks])], 1)
        with closing(Stream(graph, 9).run_async(works(), cancel=cancel)) as results:
            for work in results:
                if work.name == "4":
                    begun.wait(30)
                    if how == "consumer raises":
                        raise ZeroDivisionError
                    if how == "closed":
                        return
                    released.set()

    began = time.monotonic()
    if how == "closed":
        consume()
    else:
        with pytest.raises(ZeroDivisionError):
            consume()
    assert canceled == [how]
    assert time.monotonic() - began < 25


def test_run_to_its_end_cancels_nothing():
    canceled = []
    results = Stream(Graph(stages(passes), 1)).run_async(source(5), cancel=lambda: canceled.append(1))
    assert names(results) == names(source(5))
    results.close()
    assert canceled == []


@pytest.mark.parametrize("taken", [0, 1, 7])
def test_closing_early_ends_every_thread(taken):
    before = threading.active_count()
    results = Stream(Graph([Stage("s", [passes] * 4)] * 3, 2)).run_async(Work(str(n), None) for n in itertools.count())
    list(itertools.islice(results, taken))
    results.close()
    assert threading.active_count() == before
    assert list(results) == []


def test_closing_early_waits_for_no_source_that_blocks():
    released = threading.Event()

    def blocks():
        yield from source(2)
        released.wait()
        yield from source(2)

    results = Stream(Graph(stages(passes), 1)).run_async(blocks())
    assert names(itertools.islice(results, 2)) == ["0", "1"]
    results.close()
    released.set()


def test_consumer_that_raises_ends_every_thread():
    before = threading.active_count()

    def consume():
        for work in Stream(Graph(stages(passes), 1)).run_async(source(100)):
            if work.name == "3":
                raise RuntimeError("the consumer's")

    with pytest.raises(RuntimeError, match="the consumer's"):
        consume()
    assert threading.active_count() == before


def test_two_runs_of_one_stream_do_not_mix():
    stream = Stream(Graph([Stage("s", [passes] * 2)], 1))
    pairs = zip(stream.run_async(source(20)), stream.run_async(source(20)), strict=True)
    assert all(one.name == other.name and one is not other for one, other in pairs)


def test_joined_stages_do_their_part_in_the_threads_of_the_stage_before():
    seen = set()

    def notes(name):
        def operator(unit):
            seen.add((name, threading.current_thread()))
            time.sleep(0.002)
            return unit

        return operator

    stages = [
        Stage("a", [notes("a")]),
        Stage("b", [notes("b")], joined=True),
        Stage("c", [notes("c0"), notes("c1"), notes("c2")]),
        Stage("d", [notes("d0"), notes("d1"), notes("d2")], joined=True),
        Stage("e", [notes("e")], joined=True),
    ]
    graph = Graph(stages, 1)
    assert [(team.workers, [stage.name for stage in team.stages]) for team in graph.teams] == [
        (1, ["a", "b"]),
        (3, ["c", "d", "e"]),
    ]
    assert names(Stream(graph).run_async(source(60))) == names(source(60))
    threads = {name: {thread for other, thread in seen if other == name} for name, _ in seen}
    assert threads["a"] == threads["b"]
    assert threads["e"] == threads["c0"] | threads["c1"] | threads["c2"]
    for worker in range(3):
        assert threads[f"c{worker}"] == threads[f"d{worker}"]
        assert len(threads[f"c{worker}"]) == 1
    assert len(threads["e"]) == 3
    assert not threads["a"] & threads["e"]


def test_impossible_graphs_are_refused():
    with pytest.raises(ValueError, match="stage 'b': got 2 operators, expected 1 or 3: a, b, c share their threads"):
        Stream(Graph([Stage("a", [passes]), Stage("b", [passes] * 2, True), Stage("c", [passes] * 3, True)], 1))
    with pytest.raises(ValueError, match="got no operator"):
        Stage("decode", [])
    with pytest.raises(ValueError, match="got 0, expected at least 1"):
        Stream(Graph(stages(passes), 1), 0)


def test_keyboard_interrupt_ends_every_thread():
    # LLVM puts a handler of its own in place of Python's where a process has compiled, as the tests have.
    signal.signal(signal.SIGINT, signal.getsignal(signal.SIGINT))
    before = threading.active_count()

    def interrupt():
        threading.Timer(0.05, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
        while True:  # Nothing ever comes out, so the consumer waits.
            time.sleep(0.01)
            yield Work("", None)

    def block(unit):
        time.sleep(0.2)
        return unit

    with pytest.raises(KeyboardInterrupt):
        list(Stream(Graph([Stage("s", [block] * 2)], 1), 1).run_async(interrupt()))
    assert threading.active_count() == before
