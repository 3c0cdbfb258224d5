"""Drops, the front, and the table of them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from facedeploy.analysis.tradeoff import Point, drop_of, pareto, table


def point(drop, ratio, name="1 of 9"):
    return Point(name, (0.9, 0.8, 0.7), drop, 10 / ratio, ratio)


def test_drop_is_the_largest_of_three_in_points():
    assert drop_of((0.88, 0.83, 0.50), (0.89, 0.83, 0.54)) == pytest.approx(4)
    assert drop_of((0.90, 0.84, 0.55), (0.89, 0.82, 0.54)) == pytest.approx(-1)


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(1, 4)), min_size=1, max_size=8))
def test_front_is_what_none_is_better_than(pairs):
    marks = pareto([point(*pair) for pair in pairs])
    for (drop, ratio), mark in zip(pairs, marks, strict=True):
        better = [
            (other_drop, other_ratio)
            for other_drop, other_ratio in pairs
            if (other_drop < drop and other_ratio >= ratio) or (other_drop <= drop and other_ratio > ratio)
        ]
        assert mark == (not better)
    assert any(marks)


def test_table_has_a_row_for_each_and_marks_the_front():
    lines = table([point(1.234, 1.5), point(0.5, 0.9, "12 of 9"), point(0, 1, "fp32")])
    assert [line.split() for line in lines[:-1]] == [
        ["in", "float", "AP", "easy", "/", "medium", "/", "hard", "drop", "ms", "x", "fp32"],
        ["1", "of", "9", "90.00", "/", "80.00", "/", "70.00", "1.23", "6.67", "1.50", "*"],
        ["12", "of", "9", "90.00", "/", "80.00", "/", "70.00", "0.50", "11.11", "0.90"],
        ["fp32", "90.00", "/", "80.00", "/", "70.00", "0.00", "10.00", "1.00", "*"],
    ]
    assert "*: " in lines[-1]
