"""Images read in other processes: the same pixels, and a decoder that crashes or hangs harms nobody."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from facedeploy.core.errors import DependencyError, ImageError
from facedeploy.image.decode import read_image
from facedeploy.image.isolated import IsolatedDecoders
from facedeploy.image.opencv import cv2


@pytest.fixture
def photo(tmp_path):
    """A good image."""
    pixels = np.random.default_rng(0).integers(0, 256, (40, 30, 3), np.uint8)
    (tmp_path / "good.png").write_bytes(cv2.imencode(".png", pixels)[1].tobytes())
    return tmp_path / "good.png"


def file(tmp_path, content):
    path = tmp_path / f"{content[:5].decode()}.jpg"
    path.write_bytes(content)
    return path


def ended(pid, seconds=10.0):
    """Whether a process ends in time; one that is dead and not yet waited for has ended."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return True
        if state == "Z":
            return True
        time.sleep(0.02)
    return False


def test_cpu_time_of_the_processes_is_told(tmp_path, photo):
    """That of one that has ended, too."""
    pixels = np.random.default_rng(1).integers(0, 256, (2000, 2000, 3), np.uint8)
    (tmp_path / "large.png").write_bytes(cv2.imencode(".png", pixels)[1].tobytes())
    with IsolatedDecoders(2, 60) as decoders:
        decoders.read(photo)
        before = decoders.cpu_seconds()
        decoders.read(tmp_path / "large.png")
        after = decoders.cpu_seconds()
    assert 0 < before < after
    assert decoders.cpu_seconds() >= after


def test_pixels_and_errors_are_those_of_reading_here(tmp_path, photo):
    random = np.random.default_rng(1)
    for index, hw in enumerate([(1, 1), (300, 200), (3, 4000), (700, 900), (20, 10)]):
        pixels = random.integers(0, 256, (*hw, 3), np.uint8)
        (tmp_path / f"é {index}.png").write_bytes(cv2.imencode(".png", pixels)[1].tobytes())
    photos = sorted(tmp_path.glob("*.png")) * 3
    with IsolatedDecoders(2, 60) as decoders:
        with ThreadPoolExecutor(4) as threads:
            for path, pixels in zip(photos, threads.map(decoders.read, photos), strict=True):
                np.testing.assert_array_equal(pixels, read_image(path))
        for path in (
            tmp_path / "no\nsuch.jpg",
            tmp_path,
            file(tmp_path, b""),
            file(tmp_path, b"text"),
            Path("x" * 99999),
        ):
            with pytest.raises(ImageError) as here:
                read_image(path)
            with pytest.raises(ImageError) as there:
                decoders.read(path)
            assert str(there.value)[:60000] == str(here.value)[:60000]
        np.testing.assert_array_equal(decoders.read(photo), read_image(photo))


@pytest.mark.parametrize(
    ("content", "reason"), [(b"SEGV!", "(SIGSEGV)"), (b"ABORT", "(SIGABRT)"), (b"EXIT!", "(exit code 3)")]
)
def test_decoder_that_dies_is_replaced_and_the_image_named(tmp_path, fake_opencv, photo, content, reason):
    path = file(tmp_path, content)
    with IsolatedDecoders(1, 60) as decoders:
        for _ in range(2):
            with pytest.raises(ImageError) as caught:
                decoders.read(path)
            assert str(caught.value) == f"{path}: crashes its decoder {reason}"
            np.testing.assert_array_equal(decoders.read(photo), read_image(photo))


def test_decoder_that_hangs_is_killed_and_replaced(tmp_path, fake_opencv, photo):
    path = file(tmp_path, b"HANG!")
    with IsolatedDecoders(1, 0.5) as decoders:
        with pytest.raises(ImageError) as caught:
            decoders.read(path)
        assert str(caught.value) == f"{path}: is not decoded after 0.5 s, so that its decoder was killed"
        assert ended(int((fake_opencv / "hangs").read_text()))
    with IsolatedDecoders(1, 60) as decoders:
        np.testing.assert_array_equal(decoders.read(photo), read_image(photo))


@pytest.mark.parametrize("ready", [True, False])
def test_cancel_ends_what_is_under_way_and_lets_nothing_start(tmp_path, fake_opencv, photo, ready):
    """A hang that would last two minutes; and a process that has only just been started."""
    with IsolatedDecoders(2, 120) as decoders, ThreadPoolExecutor(2) as threads:
        if ready:
            decoders.read(photo)
        reading = threads.submit(decoders.read, file(tmp_path, b"HANG!"))
        deadline = time.monotonic() + 30
        while ready and not (fake_opencv / "hangs").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        began = time.monotonic()
        decoders.cancel()
        assert isinstance(reading.exception(60), ImageError | DependencyError)
        for _ in range(3):
            with pytest.raises(ImageError, match="is not wanted any more"):
                decoders.read(photo)
        assert time.monotonic() - began < 60
        assert all(ended(worker.process.pid) for worker in decoders._workers if worker.process)


def test_decoder_that_died_idle_costs_no_image(photo):
    with IsolatedDecoders(1, 60) as decoders:
        decoders.read(photo)
        process = decoders._workers[0].process
        process.kill()
        process.wait()
        np.testing.assert_array_equal(decoders.read(photo), read_image(photo))


def test_decoder_that_does_not_start_is_one_sentence(tmp_path, fake_opencv, photo):
    (fake_opencv / "cv2.py").write_text("import os; os._exit(7)")
    with IsolatedDecoders(1, 60) as decoders, pytest.raises(DependencyError, match=r"does not start \(exit code 7\)"):
        decoders.read(photo)


def test_workers_end_with_the_block(photo):
    with IsolatedDecoders(2, 60) as decoders:
        decoders.read(photo)
        processes = [worker.process for worker in decoders._workers]
        assert all(process.poll() is None for process in processes)
    assert all(ended(process.pid, 1) for process in processes)


PARENT = """
import sys, threading
from pathlib import Path
from facedeploy.image.isolated import IsolatedDecoders
sys.path.insert(0, sys.argv[1])
decoders = IsolatedDecoders(2, 600)
threading.Thread(target=decoders.read, args=(Path(sys.argv[2]),)).start()
decoders.read(Path(sys.argv[3]))
print(*[worker.process.pid for worker in decoders._workers], flush=True)
threading.Event().wait()
"""


def test_no_worker_outlives_a_parent_that_is_killed(tmp_path, fake_opencv, photo):
    """Neither the idle one nor the one that hangs where no thread of Python can run."""
    words = (fake_opencv, file(tmp_path, b"HANG!"), photo)
    with subprocess.Popen([sys.executable, "-c", PARENT, *map(str, words)], stdout=subprocess.PIPE) as parent:
        pids = [int(word) for word in parent.stdout.readline().split()]
        try:
            deadline = time.monotonic() + 30
            while not (fake_opencv / "hangs").exists() and time.monotonic() < deadline:
                time.sleep(0.02)
            assert not any(ended(pid, 0.1) for pid in pids)
            parent.send_signal(signal.SIGKILL)
            assert [ended(pid) for pid in pids] == [True, True]
        finally:
            parent.kill()
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
