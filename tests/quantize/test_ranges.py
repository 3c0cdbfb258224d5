"""Range tables keep their numbers."""

import json
import math

import pytest

from facedeploy.quantize.ranges import RangeTable, TensorRange

TABLE = RangeTable("mse", 131, "c0ffee", {"a": TensorRange((-1 / 3, -0.0), (0.1, 7e-12)), "b": TensorRange((0,), (1,))})


def test_json_returns_every_number_exactly():
    assert RangeTable.from_json(TABLE.to_json()) == TABLE


@pytest.mark.parametrize(
    ("low", "high"),
    [((), ()), ((0,), (1, 2)), ((0.5,), (1,)), ((-1,), (-0.5,)), ((math.nan,), (1,)), ((0,), (math.inf,))],
)
def test_range_without_zero_or_end_is_refused(low, high):
    with pytest.raises(ValueError, match=r"hold 0|ends"):
        TensorRange(low, high)


@pytest.mark.parametrize("damage", [lambda entries: entries.pop("ranges"), lambda entries: entries.update(samples="x")])
def test_damaged_json_is_refused(damage):
    entries = json.loads(TABLE.to_json())
    damage(entries)
    with pytest.raises((ValueError, KeyError)):
        RangeTable.from_json(json.dumps(entries))
