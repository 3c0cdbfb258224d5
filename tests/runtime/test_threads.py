"""How many threads a call uses, and who decides."""

import os
import subprocess
import sys

import pytest

from facedeploy.core.errors import DeviceError
from facedeploy.runtime import device, threads
from facedeploy.runtime.model import Model


@pytest.fixture
def cores(monkeypatch):
    """A process that may run on 6 CPUs, and an environment that says nothing."""
    monkeypatch.setattr(threads, "available_cores", lambda: 6)
    for name in ("TVM_NUM_THREADS", "TVM_BIND_THREADS", "TVM_THREAD_POOL_SPIN_COUNT"):
        monkeypatch.setenv(name, "")  # So that monkeypatch puts it back.
        monkeypatch.delenv(name)
    return monkeypatch


@pytest.mark.parametrize(
    ("asked", "built_for", "instances", "expected"),
    [(None, None, 1, 6), (None, None, 4, 1), (None, None, 50, 1), (None, 2, 4, 2), (None, 99, 1, 6), (5, 2, 4, 5)],
)
def test_threads_are_those_asked_for_else_the_configs_else_a_share(cores, asked, built_for, instances, expected):
    assert threads.threads_of_call(asked, built_for, instances) == expected
    assert (os.environ["TVM_NUM_THREADS"], os.environ["TVM_BIND_THREADS"]) == ("6", "0")


def test_environment_of_the_user_wins(cores):
    cores.setenv("TVM_NUM_THREADS", "9")
    cores.setenv("TVM_BIND_THREADS", "1")
    cores.setenv("TVM_THREAD_POOL_SPIN_COUNT", "7")
    assert threads.threads_of_call(None) == threads.threads_of_call(9) == 9
    assert (os.environ["TVM_NUM_THREADS"], os.environ["TVM_BIND_THREADS"]) == ("9", "1")
    assert os.environ["TVM_THREAD_POOL_SPIN_COUNT"] == "7"


SLEEPS = """
import sys, time
from facedeploy.runtime.model import Model
import numpy as np
model = Model.open(sys.argv[1], threads=2)
image = np.zeros(model.rung.input.shape, np.float32)
model.infer(image)
time.sleep(0.5)  # numpy's own threads look for work, too, when they are new.
model.infer(image)
began = time.process_time()
time.sleep(0.5)
print(time.process_time() - began)
"""


def test_threads_that_wait_for_work_sleep(tiny_artifact):
    """CPU seconds after a call, beside tvm's default; in processes of their own, as tvm asks its environment once."""
    spins = "TVM_THREAD_POOL_SPIN_COUNT"
    plain = {**os.environ, "TVM_NUM_THREADS": "2"}
    plain.pop(spins, None)
    words = [sys.executable, "-c", SLEEPS, str(tiny_artifact.prefix)]
    ours, tvms = (
        float(subprocess.run(words, env=environment, check=True, capture_output=True, text=True).stdout)
        for environment in (plain, {**plain, spins: "300000"})
    )
    assert ours < tvms / 3


@pytest.mark.parametrize("text", ["two", "", "0", "-1", "1.5"])
def test_environment_that_is_no_number_is_one_sentence(cores, text):
    cores.setenv("TVM_NUM_THREADS", text)
    with pytest.raises(DeviceError, match=f"TVM_NUM_THREADS: got '{text}', expected a whole number from 1"):
        threads.threads_of_call(None)


def test_more_threads_than_there_are_is_an_error(cores):
    with pytest.raises(
        DeviceError, match="threads: got 7, this process can use 6: set the environment variable TVM_NUM"
    ):
        threads.threads_of_call(7)


def test_affinity_counts(monkeypatch):
    if not hasattr(os, "sched_setaffinity"):
        pytest.skip("this system has no CPU affinity")
    allowed = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(allowed)})
        assert threads.available_cores() == 1
    finally:
        os.sched_setaffinity(0, allowed)


def test_model_takes_the_threads_of_the_config_or_its_share(edited, tiny_artifact, monkeypatch, tmp_path):
    monkeypatch.setattr(device, "NODES", tmp_path)  # One device, which has all CPUs.
    most = threads.threads_of_call(None)
    assert Model.open(tiny_artifact.prefix).threads == most
    assert Model.open_instances(tiny_artifact.prefix, 2 * most)[0].threads == 1
    assert Model.open(edited(lambda manifest: manifest["target"].update(threads=1))).threads == 1


@pytest.mark.parametrize(("threads_of_each", "expected"), [(None, 6), (1, 6), (2, 3), (4, 1), (99, 1)])
def test_as_many_instances_as_the_machine_has_room_for(cores, threads_of_each, expected):
    assert threads.instances_of_machine(threads_of_each) == expected


def test_instances_that_nobody_counted_fill_the_machine(cores, edited, tiny_artifact):
    models = Model.open_instances(tiny_artifact.prefix, None)
    assert [model.threads for model in models] == [1] * 6
    models = Model.open_instances(tiny_artifact.prefix, None, threads=3)
    assert [model.threads for model in models] == [3] * 2
    models = Model.open_instances(edited(lambda manifest: manifest["target"].update(threads=2)), None)
    assert [model.threads for model in models] == [2] * 3
