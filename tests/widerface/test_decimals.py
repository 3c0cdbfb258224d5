import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from facedeploy.widerface.decimals import format_decimals, parse_decimals


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


def by_format(table):
    """What C's format writes."""
    return "".join(" ".join(f"{number:.9g}" for number in row) + "\n" for row in table.tolist())


NUMBERS = st.one_of(
    st.floats(-1e5, 1e5, width=32),
    st.floats(0, 1, width=32),
    st.floats(allow_nan=False, allow_infinity=False),
    st.floats(1e-4, 1e8),
    st.integers(-(2**31), 2**31).map(lambda n: n / 2**14),  # Of these, one in a hundred ends in a tie.
    st.integers(-10, 10).map(lambda n: 10.0**n),
)


@settings(max_examples=500, deadline=None)
@given(hnp.arrays(np.float64, st.tuples(st.integers(0, 6), st.integers(1, 5)), elements=NUMBERS))
def test_numbers_are_written_as_c_writes_them(table):
    assert format_decimals(table) == by_format(table)


def test_boxes_are_written_as_c_writes_them():
    """Corners of float32, sides as their differences: the numbers that runs write."""
    random = np.random.default_rng(0)
    for scale in (0.01, 1, 100, 1000, 20000):
        corners = (random.uniform(-0.1, 1, (3000, 4)) * scale).astype(np.float32).astype(np.float64)
        corners[::3] = np.round(corners[::3] * 2**14) / 2**14
        table = np.column_stack(
            [corners[:, :2], corners[:, 2:] - corners[:, :2], np.float32(random.uniform(0, 1, 3000))]
        )
        for part in (table, table[(np.abs(table) > 1e-3).all(axis=1)]):
            assert format_decimals(part) == by_format(part)


def test_numbers_just_beside_a_power_of_ten_keep_nine_digits():
    powers = 10.0 ** np.arange(-4, 8)
    table = np.stack([np.nextafter(powers, 0), powers, np.nextafter(powers, 1e9), powers * (1 - 4e-10), -powers])
    for row in table[:, 1:]:
        assert format_decimals(row[None]) == by_format(row[None])
