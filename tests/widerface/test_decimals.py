import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from facedeploy.widerface.decimals import parse_decimals


@settings(max_examples=500, deadline=None)
@given(st.text("0123456789.- \n", max_size=40), st.integers(1, 3))
@example("1.2.3", 1)
@example(". 1", 1)
@example("1 .", 1)
@example("5-", 1)
@example("5 -", 2)
@example("- 5", 1)
@example("-. 5", 2)
@example("-", 1)
@example("1 2\n\n3 4", 2)
@example("1 2 3\n4", 2)
@example("99999999999999999999 1", 2)
@example("9223372036854775808", 1)
@example("-99999999999999999999", 1)
@example("-.5 5.", 2)
def test_numbers_are_read_as_float_reads_them_or_left_alone(text, columns):
    table = parse_decimals(text, columns)
    if table is None:
        return
    rows = [[float(word) for word in line.split()] for line in text.strip().split("\n")]
    assert table.shape == (len(rows), columns)
    np.testing.assert_array_max_ulp(table, np.array(rows), maxulp=2)


@given(st.lists(st.floats(-1e6, 1e6, width=32), min_size=1))
def test_numbers_of_nine_digits_are_exact(values):
    text = "\n".join(f"{value:.9f}"[:15].rstrip("-") for value in values)
    table = parse_decimals(text, 1)
    assert table is not None
    assert table[:, 0].tolist() == [float(line) for line in text.split("\n")]


def test_unusual_numbers_are_left_to_a_slower_reader():
    for text in ("", "1e-05", "nan", "inf", "+1", "1_0", "0x1", "١", "1,5", "1\x002", "0." + "1" * 30):
        assert parse_decimals(text, 1) is None, text
