"""The smallest number that will do, where each try is dear."""

from collections.abc import Callable


def fewest(most: int, meets: Callable[[int], bool]) -> int | None:
    """The smallest k of 0 ... `most` that `meets`, tried about 2 log2(most) times; None if `most` does not either.

    Tries 0, 1, 2, 4, 8 ... until one meets, then halves the gap to the last that did not. What is returned was tried,
    and no smaller one that was tried met; where a number that meets is followed by one that does not, there may be a
    smaller one that was not tried.
    """
    failed, found = -1, 0
    while not meets(found):
        if found == most:
            return None
        failed, found = found, min(max(1, 2 * found), most)
    while found - failed > 1:
        middle = (failed + found) // 2
        if meets(middle):
            found = middle
        else:
            failed = middle
    return found
