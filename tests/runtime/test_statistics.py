"""Figures of a stream, with operators that sleep or keep a CPU busy: counts exactly, times by their order."""

import json
import time
from itertools import count as endless

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facedeploy.core.errors import ImageError
from facedeploy.runtime.graph import Graph, Stage
from facedeploy.runtime.meter import StreamMeter
from facedeploy.runtime.operator import Work
from facedeploy.runtime.stream import Stream


def source(count, seconds=0.0):
    for number in range(count):
        time.sleep(seconds)
        yield Work(str(number), None)


def sleeper(seconds):
    def operator(unit):
        time.sleep(seconds)
        return unit

    return operator


def spinner(seconds):
    def operator(unit):
        end = time.thread_time() + seconds
        while time.thread_time() < end:
            pass
        return unit

    return operator


def run(stages, works, batch=1, depth=None, consume=lambda work: None):
    """Statistics of a whole run."""
    meter = StreamMeter()
    for work in Stream(Graph(stages, batch), depth).run_async(works, meter=meter):
        consume(work)
    return meter.statistics()


def by_name(statistics):
    return {stage.name: stage for stage in statistics.stages}


@settings(deadline=None, max_examples=40)
@given(
    count=st.integers(0, 23),
    batch=st.integers(1, 5),
    lanes=st.lists(st.integers(1, 4), min_size=1, max_size=4),
    depth=st.none() | st.integers(1, 6),
    bad=st.dictionaries(st.integers(0, 22), st.integers(0, 3)),
)
def test_every_unit_is_counted_once_and_times_add_up(count, batch, lanes, depth, bad):
    def fails_at(place):
        def operator(unit):
            for work in unit:
                if bad.get(int(work.name)) == place:
                    work.error = ImageError(work.name)
            return unit

        return operator

    stages = [Stage(str(place), [fails_at(place)] * lanes[place]) for place in range(len(lanes))]
    meter = StreamMeter()
    works = list(Stream(Graph(stages, batch), depth).run_async(source(count), meter=meter))
    statistics = meter.statistics()
    assert [work.name for work in works] == [str(number) for number in range(count)]
    assert [stage.name for stage in statistics.stages] == ["input", *(stage.name for stage in stages), "output"]
    assert [stage.workers for stage in statistics.stages] == [1, *lanes, 1]
    assert {stage.images for stage in statistics.stages} == {count}
    assert {stage.units for stage in statistics.stages[:-1]} == {-(-count // batch)}
    in_range = [place for number, place in bad.items() if number < count and place < len(lanes)]
    assert [stage.failed for stage in statistics.stages] == [
        0,
        *(in_range.count(place) for place in range(len(lanes))),
        0,
    ]
    for stage in statistics.stages:
        everything = stage.busy_s + stage.input_wait_s + stage.room_wait_s
        assert 0 <= everything <= statistics.seconds * stage.workers
        assert stage.busy_share == pytest.approx(stage.busy_s / (statistics.seconds * stage.workers))
        assert stage.busy_ms * count == pytest.approx(1000 * stage.busy_s * (count > 0))
        assert 0 <= stage.queue_length <= (depth or 2 * sum(lanes))


@pytest.mark.parametrize("slow", ["a", "b", "c"])
def test_stage_that_takes_longest_is_the_bottleneck(slow):
    stages = [Stage(name, [sleeper(0.008 if name == slow else 0.001)]) for name in "abc"]
    statistics = run(stages, source(30), depth=6)
    assert statistics.bottleneck.name == slow
    found = by_name(statistics)
    others = [found[name] for name in "abc" if name != slow]
    assert found[slow].busy_ms >= 8
    for other in others:
        assert other.busy_ms < found[slow].busy_ms
        assert other.p50_ms < found[slow].p50_ms
        assert other.input_wait_s > found[slow].input_wait_s
        assert other.queue_length < found[slow].queue_length
    assert found["input"].room_wait_s > found["input"].busy_s
    assert found["output"].input_wait_s > found["output"].busy_s


def test_joined_stages_share_their_time_and_the_longest_is_the_bottleneck():
    stages = [Stage("a", [sleeper(0.002)] * 2), Stage("b", [sleeper(0.006)], True), Stage("c", [sleeper(0.001)])]
    statistics = run(stages, source(40))
    found = by_name(statistics)
    assert statistics.bottleneck.name == "b"
    assert [found[name].workers for name in "abc"] == [2, 2, 1]
    assert {found[name].units for name in "abc"} == {40}
    assert found["b"].busy_s > found["a"].busy_s > found["c"].busy_s
    both = (found["a"].busy_s + found["b"].busy_s) / (2 * statistics.seconds)
    assert found["a"].busy_share == found["b"].busy_share == pytest.approx(both)
    assert found["b"].input_wait_s == found["b"].queue_length == 0


def test_more_workers_have_less_to_do_each():
    stages = [Stage("a", [sleeper(0.004)]), Stage("b", [sleeper(0.008)] * 4)]
    statistics = run(stages, source(30))
    assert statistics.bottleneck.name == "a"
    found = by_name(statistics)
    assert found["b"].busy_s > found["a"].busy_s
    assert found["b"].busy_share < found["a"].busy_share


def test_slow_source_and_slow_consumer_are_told_from_stages():
    stages = [Stage("a", [sleeper(0.001)])]
    assert run(stages, source(20, 0.006)).bottleneck.name == "input"
    statistics = run(stages, source(20), consume=lambda work: time.sleep(0.006), depth=5)
    assert statistics.bottleneck.name == "output"
    assert by_name(statistics)["output"].queue_length > by_name(statistics)["a"].queue_length


def test_cpu_time_is_that_of_work_and_not_of_waiting():
    found = by_name(run([Stage("waits", [sleeper(0.01)]), Stage("works", [spinner(0.01)])], source(20)))
    assert found["works"].cpu_s >= 0.2
    assert found["works"].busy_s >= 0.99 * found["works"].cpu_s
    assert found["waits"].cpu_s < found["waits"].busy_s / 2


def test_cpu_time_of_the_process_is_that_of_all_threads():
    statistics = run([Stage("works", [spinner(0.01)] * 2)], source(20))
    assert statistics.cpu_s >= by_name(statistics)["works"].cpu_s >= 0.2
    assert 0 < statistics.cpu_share <= 1.1


def test_latency_is_that_of_the_call_with_few_slow_ones_in_the_tail():
    turns = endless()

    def operator(unit):
        time.sleep(0.01 if next(turns) % 10 == 0 else 0)
        return unit

    stage = by_name(run([Stage("a", [operator])], source(250)))["a"]
    assert stage.p95_ms >= 10 > stage.p50_ms
    few = by_name(run([Stage("a", [operator])], source(199)))["a"]
    assert (few.p50_ms is None, few.p95_ms is None) == (False, True)


def test_run_that_a_bug_ends_has_its_figures():
    def bug(unit):
        if unit[0].name == "4":
            raise ZeroDivisionError("a bug")
        return unit

    meter = StreamMeter()
    graph = Graph([Stage("a", [bug]), Stage("b", [sleeper(0)])], 2)
    with pytest.raises(ZeroDivisionError):
        list(Stream(graph, 1).run_async(source(20), meter=meter))
    found = by_name(meter.statistics())
    assert (found["a"].images, found["b"].images, found["output"].images) == (6, 4, 4)


def test_endless_run_has_figures_while_it_lasts_and_keeps_them_when_it_is_closed():
    meter = StreamMeter()
    results = Stream(Graph([Stage("a", [sleeper(0)])], 1), 2).run_async(source(10**9), meter=meter)
    for _ in range(10):
        next(results)
    assert by_name(meter.statistics())["output"].images == 10
    results.close()
    statistics = meter.statistics()
    assert statistics == meter.statistics()
    assert by_name(statistics)["output"].images == 10
    assert 10 <= by_name(statistics)["a"].images <= 12


def test_meter_measures_one_run():
    meter, stream = StreamMeter(), Stream(Graph([Stage("a", [sleeper(0)])], 1))
    with pytest.raises(ValueError, match="no run with this meter has begun"):
        meter.statistics()
    list(stream.run_async(source(3), meter=meter))
    with pytest.raises(ValueError, match="give each run one of its own"):
        stream.run_async(source(3), meter=meter)


def test_json_and_table_say_the_same():
    statistics = run([Stage("decode it", [sleeper(0.001)] * 2)], source(30), batch=2)
    figures = json.loads(json.dumps(statistics.to_json(), allow_nan=False))
    assert figures["bottleneck"] == statistics.bottleneck.name
    header, *rows, note = statistics.lines()
    assert " ".join(header.split()) == (
        "stage workers images failed ms/image CPU ms busy for input for room p50 ms p95 ms queue"
    )
    assert len(rows) == len(figures["stages"]) == 3
    for row, stage in zip(rows, figures["stages"], strict=True):
        assert row.startswith(stage["name"])
        cells = row.removeprefix(stage["name"]).split()
        assert cells[:3] == [str(stage[name]) for name in ("workers", "images", "failed")]
        assert cells[3:5] == [f"{stage[name]:.3f}" for name in ("busy_ms", "cpu_ms")]
        assert cells[5] == f"{stage['busy_share']:.1%}"
        assert cells[-1] == f"{stage['queue_length']:.2f}"
    assert note.endswith("15, needed: p50 20, p95 200")
