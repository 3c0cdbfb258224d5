"""Which devices there are, told by a tree as Linux has it, and what runs where."""

import os
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facedeploy.core.errors import DeviceError, ShapeError
from facedeploy.runtime import device, threads
from facedeploy.runtime.device import Device, choose_devices, find_devices
from facedeploy.runtime.face_detector import FaceDetector
from facedeploy.runtime.model import Model


def write_nodes(folder, lists):
    """Nodes of the CPUs in these lists, as in /sys/devices/system/node, with other things beside them."""
    for number, cpus in lists.items():
        (folder / f"node{number}").mkdir(parents=True)
        (folder / f"node{number}" / "cpulist").write_text(f"{cpus}\n")
    (folder / "power").mkdir()
    (folder / "online").write_text("0-99\n")
    return folder


@pytest.fixture
def eight(monkeypatch):
    """A process that may use CPUs 0 to 7."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)))


def cpus(devices):
    return [device.cpus and sorted(device.cpus) for device in devices]


@pytest.mark.parametrize(
    ("lists", "expected"),
    [
        ({}, [None]),
        ({0: "0-7"}, [None]),
        ({0: "0-3", 1: "4-7"}, [[0, 1, 2, 3], [4, 5, 6, 7]]),
        ({1: "4-7", 0: "0-1,3"}, [[0, 1, 3], [4, 5, 6, 7]]),
        ({0: "0", 2: "1,4", 10: "2"}, [[0], [1, 4], [2]]),
        # A node of memory alone, one that this process may not use, one that it may use a part of.
        ({0: "0-3", 1: "", 2: "8-15", 3: "6-11"}, [[0, 1, 2, 3], [6, 7]]),
        ({0: "0-7", 1: "8-15"}, [None]),
    ],
)
def test_devices_are_the_nodes_whose_cpus_may_be_used(eight, tmp_path, lists, expected):
    assert cpus(find_devices(write_nodes(tmp_path, lists))) == expected


@given(st.sets(st.integers(0, 200), min_size=1), st.data())
def test_lists_of_cpus_are_read_as_linux_writes_them(numbers, data):
    parts, left = [], sorted(numbers)
    while left:
        first = last = left.pop(0)
        while left and left[0] == last + 1:
            last = left.pop(0)
        parts.append(f"{first}" if first == last else f"{first}-{last}")
    assert device._cpus(",".join(parts) + "\n") == numbers


def test_this_machine_has_at_least_one_device():
    found = find_devices(device.NODES)
    assert found
    if len(found) == 1:
        assert found == [Device("host CPU")]
        assert choose_devices(0, 1) == choose_devices([0], 1) == found
    else:
        allowed = os.sched_getaffinity(0)
        assert all(device.cpus <= allowed for device in found)
        assert sum(len(device.cpus) for device in found) <= len(allowed)


def test_machine_of_one_device_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(device, "NODES", tmp_path)
    with pytest.raises(DeviceError) as error:
        choose_devices(3, 1)
    assert str(error.value) == "device: got 3; the devices here: 0 (host CPU)"


@pytest.mark.parametrize(
    ("numbers", "instances", "said"),
    [
        (2, 1, "device: got 2; the devices here: 0 (NUMA node0, 4 CPUs), 1 (NUMA node1, 4 CPUs)"),
        (-1, 1, "device: got -1; the devices here: 0 (NUMA node0, "),
        ((0, 7), 2, "device: got 0, 7; the devices here: 0 (NUMA node0, "),
        ((1, 1), 2, "device: got 1, 1; the devices here: 0 (NUMA node0, "),
        ((), 1, "device: got none; the devices here: 0 (NUMA node0, "),
        ("cpu", 1, "device: got cpu; the devices here: 0 (NUMA node0, "),
        ("0", 1, "device: got 0; the devices here: 0 (NUMA node0, "),
        ((0, "1"), 2, "device: got 0, 1; the devices here: 0 (NUMA node0, "),
        (None, 1, "device: got None; the devices here: 0 (NUMA node0, "),
        (0.0, 1, "device: got 0.0; the devices here: 0 (NUMA node0, "),
        ((0, 1), 1, "device: got 0, 1, expected no more of them than instances (1): raise those"),
    ],
)
def test_what_is_no_choice_is_one_sentence(eight, tmp_path, monkeypatch, numbers, instances, said):
    monkeypatch.setattr(device, "NODES", write_nodes(tmp_path, {0: "0-3", 1: "4-7"}))
    with pytest.raises(DeviceError) as error:
        choose_devices(numbers, instances)
    assert str(error.value).startswith(said)


def test_threads_are_a_share_of_the_devices(monkeypatch):
    monkeypatch.setattr(threads, "available_cores", lambda: 8)
    for name in ("TVM_NUM_THREADS", "TVM_BIND_THREADS"):
        monkeypatch.setenv(name, "")  # So that monkeypatch puts it back.
        monkeypatch.delenv(name)
    one, other = Device("one", frozenset(range(4))), Device("other", frozenset(range(4, 6)))
    expected = {(): 8, (one,): 4, (other,): 2, (one, other): 6, (Device("host CPU"),): 8}
    assert {devices: threads.threads_of_call(None, None, 1, devices) for devices in expected} == expected
    assert threads.threads_of_call(None, None, 3, [one, other]) == 2
    assert threads.threads_of_call(5, None, 1, [other]) == threads.threads_of_call(None, 5, 1, [other]) == 5


@pytest.fixture
def two_nodes(tmp_path, monkeypatch):
    """This machine's CPUs as two nodes; returns the CPUs of each."""
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) < 2:
        pytest.skip("this process may use one CPU only")
    parts = [allowed[:1], allowed[1:]]
    lists = {number: ",".join(map(str, part)) for number, part in enumerate(parts)}
    monkeypatch.setattr(device, "NODES", write_nodes(tmp_path / "nodes", lists))
    return [set(part) for part in parts]


@pytest.fixture
def places(monkeypatch):
    """Where models were called: each one's CPUs and its thread, in order."""
    seen = []
    for name in ("infer", "infer_batch", "detect"):
        true = getattr(Model, name)

        def noted(model, *arguments, true=true, name=name):
            seen.append((model, name, os.sched_getaffinity(0), threading.current_thread()))
            return true(model, *arguments)

        monkeypatch.setattr(Model, name, noted)
    return seen


def test_instances_run_on_their_node_in_turn_and_find_the_same(two_nodes, places, tiny_ladder, pictures, same):
    """At every shape."""
    here = os.sched_getaffinity(0)
    detector = FaceDetector.from_artifact(tiny_ladder.prefix, canvas="nearest")
    spread = FaceDetector.from_artifact(tiny_ladder.prefix, canvas="nearest", instances=3, device=(1, 0))
    for _ in range(5):
        for work, picture in zip(spread.run_async(pictures), pictures, strict=True):
            same(work.detections, detector.detect(picture))
    on = {
        model: two_nodes[number] for models, number in zip(spread.instances, (1, 0, 1), strict=True) for model in models
    }
    calls = [(model, where) for model, _, where, _ in places if model in on]
    assert len(calls) == 2 * 5 * len(pictures)
    assert all(where == on[model] for model, where in calls)
    assert os.sched_getaffinity(0) == here, "the caller's own thread stays free"


def test_each_node_has_weights_of_its_own_which_its_instances_share(two_nodes, tiny_artifact):
    models = Model.open_instances(tiny_artifact.prefix, 4, device=[0, 1])
    one, other, third, fourth = (model._parameters for model in models)
    assert one is third
    assert other is fourth
    assert not np.shares_memory(one, other)
    np.testing.assert_array_equal(one, other)


def test_threads_that_a_call_starts_stay_on_its_node(two_nodes, tiny_artifact, monkeypatch):
    """Those of tvm's pool, where a call has several."""
    monkeypatch.setenv("TVM_NUM_THREADS", "2")
    before = set(os.listdir("/proc/self/task"))
    model = Model.open(tiny_artifact.prefix, device=1, threads=2)
    for _ in range(3):
        model.infer_pixels(np.zeros((1, 96, 128, 3), np.uint8))
    started = set(os.listdir("/proc/self/task")) - before
    assert started
    for task in started:
        assert os.sched_getaffinity(int(task)) == two_nodes[1]


def test_errors_of_a_call_on_a_node_are_the_callers(two_nodes, tiny_artifact):
    model = Model.open(tiny_artifact.prefix, device=1)
    with pytest.raises(ShapeError, match=r"input: got float32\[1, 3, 5, 5\]"):
        model.infer(np.zeros((1, 3, 5, 5), np.float32))
    with pytest.raises(ShapeError, match="got outputs none"):
        model.detect({})


def test_one_device_pins_nothing(tiny_artifact, places, monkeypatch):
    monkeypatch.setattr(device, "NODES", Path("/nowhere"))
    model = Model.open(tiny_artifact.prefix)
    assert type(model) is Model
    model.infer_pixels(np.zeros((1, 96, 128, 3), np.uint8))
    assert [thread for *_, thread in places] == [threading.current_thread()]
