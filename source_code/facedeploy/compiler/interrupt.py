"""Ctrl-C stays with Python."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def interrupts_kept() -> Iterator[None]:
    """For code that lets LLVM compile: it leaves a handler past which Ctrl-C does not reach a thread that waits."""
    interrupt = signal.getsignal(signal.SIGINT)
    try:
        yield
    finally:
        if interrupt is not None and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, interrupt)
