"""How far calibration is, on a terminal."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def calibration_bar() -> Iterator[tuple[Callable[[str], None], Callable[[int, int], None]]]:
    """`note`, which prints a line above the bar, and `on_image(done, total)`, which moves it."""
    from tqdm import tqdm

    # disable=None: no bar where stderr is not a terminal.
    with tqdm(desc="calibrate", unit="image", leave=False, disable=None) as bar:

        def advance(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield bar.write, advance
