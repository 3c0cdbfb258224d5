"""What a float32 holds."""

LARGEST = (2 - 2**-23) * 2.0**127
EXPECTED = "a number of at most 3.4e+38 (float32)"


def is_float32(number: float) -> bool:
    """Whether it is finite, and stays so as a float32."""
    return abs(number) <= LARGEST
