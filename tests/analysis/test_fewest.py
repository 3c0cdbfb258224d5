"""The search for the smallest number, over whatever a measurement may say."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from facedeploy.analysis.fewest import fewest


def tried(most, meets):
    """What is found, and the numbers that were asked about."""
    asked = []

    def ask(number):
        asked.append(number)
        return meets(number)

    return fewest(most, ask), asked


def budget(most):
    return 2 + 2 * math.ceil(math.log2(most + 1))


@given(most=st.integers(0, 300), least=st.integers(0, 310))
def test_smallest_is_found_when_drops_fall_with_the_number(most, least):
    found, asked = tried(most, lambda number: number >= least)
    assert found == (least if least <= most else None)
    assert len(asked) == len(set(asked)) <= budget(most)
    assert set(asked) <= set(range(most + 1))


@given(answers=st.lists(st.booleans(), min_size=1, max_size=200))
def test_what_is_found_meets_and_no_smaller_one_tried_does_whatever_the_drops(answers):
    most = len(answers) - 1
    found, asked = tried(most, answers.__getitem__)
    assert len(asked) == len(set(asked)) <= budget(most)
    if found is None:
        assert asked[-1] == most
        assert not any(answers[number] for number in asked)
    else:
        assert found in asked
        assert answers[found]
        assert found == min(number for number in asked if answers[number])


def test_none_in_float_is_the_only_try_when_it_meets():
    assert tried(100, lambda number: True) == (0, [0])


@pytest.mark.parametrize(
    ("least", "asked"),
    [(1, [0, 1]), (3, [0, 1, 2, 4, 3]), (6, [0, 1, 2, 4, 8, 6, 5]), (10, [0, 1, 2, 4, 8, 10, 9])],
)
def test_steps_double_up_to_the_most_and_then_the_gap_is_halved(least, asked):
    assert tried(10, lambda number: number >= least) == (least, asked)
