"""Image files become pixels in other processes, which a bad file may crash or hang."""

import os
import queue
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType

import numpy as np

from facedeploy.core.errors import DependencyError, ImageError
from facedeploy.image.decode_worker import LONGEST_MESSAGE, PIXELS, READY, REASON
from facedeploy.image.operations import Pixels

_START_SECONDS = 120.0  # Until a process has loaded OpenCV; that is no image's fault.
_CRASH_SECONDS = 1.0  # From a closed socket to the end of a process that crashes: it may be writing a core dump.
_END_SECONDS = 5.0  # From SIGKILL; only a process that waits for a dead disk takes longer, and is not waited for.


class IsolatedDecoders:
    """`read` is `read_image` in worker processes, as many as `count`.

    One that dies, or takes longer than `timeout_seconds` for an image, is killed and replaced; the image then has an
    error like any other that cannot be read. No worker outlives this process, however that ends.
    """

    def __init__(self, count: int, timeout_seconds: float, ignore_exif: bool = False) -> None:
        self.timeout_seconds = timeout_seconds
        self._workers = [_Worker(ignore_exif) for _ in range(count)]
        self._idle: queue.LifoQueue[_Worker] = queue.LifoQueue()
        for worker in self._workers:
            worker.start()
            self._idle.put(worker)

    def read(self, path: Path) -> Pixels:
        """The pixels of an image file, (h, w, 3) u8, BGR; waits while all workers are busy.

        Raises ImageError that names the file and the reason, DependencyError when no worker can be started.
        """
        worker = self._idle.get()
        try:
            return worker.read(path, self.timeout_seconds)
        finally:
            self._idle.put(worker)

    def cpu_seconds(self) -> float:
        """CPU time of all workers so far, but for what one that was killed took for its last image."""
        return sum(worker.cpu_seconds() for worker in self._workers)

    def cancel(self) -> None:
        """Let all reading fail from now on: at once, also what other threads have under way."""
        for worker in self._workers:
            worker.canceled = True
            worker.kill()

    def __enter__(self) -> "IsolatedDecoders":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self._workers:
            worker.kill()
        for worker in self._workers:
            worker.stop()


class _Worker:
    """A process, the socket to it, and the memory that it shares; started again where it has ended."""

    def __init__(self, ignore_exif: bool) -> None:
        self.ignore_exif = ignore_exif
        self.process: subprocess.Popen[bytes] | None = None
        self._cpu_of_earlier = 0.0  # Of processes that have ended, seconds.
        self.ready = self.canceled = False

    def start(self) -> None:
        """Start the process, and do not wait until it is ready."""
        self.memory = os.memfd_create("pixels")
        self.channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        lifeline, self.lifeline = os.pipe()  # Not one for all: a pipe signals one process alone.
        arguments = f"{theirs.fileno()}, {self.memory}, {lifeline}, {self.ignore_exif}"
        script = (
            f"import sys; sys.path[:] = {sys.path!r}; "
            f"from facedeploy.image.decode_worker import serve; serve({arguments})"
        )
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-c", script],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(), self.memory, lifeline),
                start_new_session=True,  # Ctrl-C is for this process, which then ends its workers.
            )
        os.close(lifeline)

    def read(self, path: Path, seconds: float) -> Pixels:
        """As `IsolatedDecoders.read`."""
        if self.process is not None and self.process.poll() is not None:
            self.stop()  # It died while it was idle: not this image's doing.
        if self.process is None:
            self.start()
        if self.canceled:  # Asked behind the start: what was started before, `cancel` has killed.
            self.kill()
            raise ImageError(f"{path}: is not wanted any more")
        if not self.ready:
            self._wait_until_ready()
        try:
            # What is cut off here is too long for any file system, and fails as the whole does.
            self.channel.send(os.fsencode(path)[:LONGEST_MESSAGE])
            reply = self._receive(seconds)
        except TimeoutError:
            self.kill()
            self.stop()
            raise ImageError(f"{path}: is not decoded after {seconds:g} s, so that its decoder was killed") from None
        except ConnectionError:
            raise ImageError(f"{path}: crashes its decoder ({self.stop()})") from None
        if reply.startswith(REASON):
            raise ImageError(reply[len(REASON) :].decode(errors="surrogateescape"))
        return self._pixels(reply)

    def cpu_seconds(self) -> float:
        """CPU time of its processes, as far as the system still tells."""
        process, seconds = self.process, 0.0
        if process is not None:
            with suppress(OSError):  # It has ended, and nothing is left of it.
                seconds = time.clock_gettime(~process.pid << 3 | 2)  # MAKE_PROCESS_CPUCLOCK of linux/posix-timers.h.
        return self._cpu_of_earlier + seconds

    def kill(self) -> None:
        """Let it end now, whatever it does."""
        if (process := self.process) is not None:  # Another thread may be stopping it.
            process.kill()

    def stop(self) -> str:
        """End the process where it has not ended, and free what it has. Returns how it ended."""
        if self.process is None:
            return ""
        self._cpu_of_earlier = self.cpu_seconds()
        process, self.process, self.ready = self.process, None, False
        self.channel.close()
        os.close(self.memory)
        with suppress(subprocess.TimeoutExpired):  # How a crash ends is told by its end alone.
            process.wait(_CRASH_SECONDS)
        process.kill()
        with suppress(subprocess.TimeoutExpired):
            process.wait(_END_SECONDS)
        os.close(self.lifeline)
        code = process.returncode
        return "no end yet" if code is None else signal.Signals(-code).name if code < 0 else f"exit code {code}"

    def _wait_until_ready(self) -> None:
        try:
            self.ready = self._receive(_START_SECONDS) == READY
        except (TimeoutError, ConnectionError):
            raise DependencyError(f"a process to decode images in does not start ({self.stop()})") from None

    def _receive(self, seconds: float) -> bytes:
        self.channel.settimeout(seconds)
        message = self.channel.recv(LONGEST_MESSAGE)
        if not message:
            raise ConnectionResetError
        return message

    def _pixels(self, reply: bytes) -> Pixels:
        height, width = map(int, reply[len(PIXELS) :].split())
        image = np.empty((height, width, 3), np.uint8)
        left, position = image.reshape(-1).data, 0
        while left:
            count = os.preadv(self.memory, [left], position)  # 2 GiB at most.
            left, position = left[count:], position + count
        return image
