"""What is freed and asked for again comes from the process itself."""

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import resource
from concurrent.futures import ThreadPoolExecutor
import numpy as np
from facedeploy.runtime.memory import keep_freed

keep_freed()

def fill():
    arrays = [np.full(3 << 20, number, np.uint8) for number in range(5)]

with ThreadPoolExecutor(1) as threads:
    threads.submit(fill).result()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    threads.submit(lambda: [fill() for _ in range(20)]).result()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is told to keep what is freed")
def test_arrays_of_an_image_s_size_take_no_fresh_pages():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    pages_of_one_array = (3 << 20) // 4096
    assert int(done.stdout) < pages_of_one_array
