"""What another library says of its failure, as part of a sentence of ours."""

import textwrap

LONGEST = 300


def reason_of(error: Exception) -> str:
    """The error's text on one line of at most `LONGEST` characters; its type's name when it has none."""
    return textwrap.shorten(str(error), LONGEST, placeholder=" ...") or type(error).__name__
