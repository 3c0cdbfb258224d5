"""Text of others in a message of ours."""

from collections.abc import Sequence

LONGEST = 60


def shown(text: str, longest: int = LONGEST) -> str:
    """`text` as it can stand in a line that a terminal shows: not long, and what does not print is escaped.

    Blank text has quotes, since nothing would be seen of it.
    """
    if not text.strip():
        return repr(text[:longest])
    start = text[:longest] + ("..." if len(text) > longest else "")
    if start.isprintable():
        return start
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in start)


def size_text(sides: tuple[int, int]) -> str:
    """Two sides in their order, px: `480x640`."""
    return f"{sides[0]}x{sides[1]}"


def listed(items: Sequence[str], separator: str = ", ", limit: int = 5) -> str:
    """The first few items, and how many more there are."""
    more = [f"and {len(items) - limit} more"] if len(items) > limit else []
    return separator.join([*items[:limit], *more])
