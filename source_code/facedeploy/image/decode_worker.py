"""The process that reads images for `isolated_read`, and what the two say to each other."""

import fcntl
import os
import socket
from contextlib import suppress
from pathlib import Path

from facedeploy.core.errors import ImageError
from facedeploy.image.decode import read_image

LONGEST_MESSAGE = 1 << 16  # Bytes: far past the longest path that a file can have.
READY = b"ready"
PIXELS, REASON = b"+", b"-"  # What a reply starts with: "+<height> <width>", or why there are none.


def serve(channel: int, pixels: int, lifeline: int, ignore_exif: bool) -> None:
    """Answer each path that comes through the socket `channel`, until its other end is closed.

    The pixels themselves, (height, width, 3) u8, go into the memory file `pixels`, which both processes have open. All
    three are file descriptors.
    """
    _die_with(lifeline)
    with socket.socket(fileno=channel) as requests, suppress(ConnectionError):
        requests.send(READY)
        while path := requests.recv(LONGEST_MESSAGE):
            requests.send(_answer(Path(os.fsdecode(path)), pixels, ignore_exif)[:LONGEST_MESSAGE])


def _answer(path: Path, pixels: int, ignore_exif: bool) -> bytes:
    try:
        image = read_image(path, ignore_exif=ignore_exif)
    except ImageError as error:
        return REASON + str(error).encode(errors="surrogateescape")
    os.ftruncate(pixels, image.nbytes)  # Nor is the largest image's memory kept for the small ones that follow.
    left, position = image.reshape(-1).data, 0
    while left:
        count = os.pwrite(pixels, left, position)  # 2 GiB at most.
        left, position = left[count:], position + count
    return PIXELS + b"%d %d" % image.shape[:2]


def _die_with(lifeline: int) -> None:
    """Let the kernel end this process when the other end of a pipe is closed, as it is when the parent dies.

    Reading the pipe in a thread would not do: a decoder that hangs may never let another thread run. Nothing is ever
    written to the pipe, so all that can happen to it is its end; SIGIO then ends a process that does not handle it.
    """
    fcntl.fcntl(lifeline, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)
