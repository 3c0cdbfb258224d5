"""How many images are done, on a terminal."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def image_bar(description: str) -> Iterator[tuple[Callable[[str], None], Callable[[int, int], None]]]:
    """`note`, which prints a line above the bar, and `on_image(done, total)`, which moves it."""
    from tqdm import tqdm

    # disable=None: no bar where stderr is not a terminal.
    with tqdm(desc=description, unit="image", leave=False, disable=None) as bar:

        def advance(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield bar.write, advance
