import pytest

from facedeploy.core.normalization import Normalization

MEAN, STD = (1.0, 2.0, 3.0), (4.0, 5.0, 6.0)


@pytest.mark.parametrize(
    ("norma_type", "expected"),
    [
        ("DIV255_MINUSMEAN_DIVSTD", Normalization("BGR", MEAN, STD, 255.0)),
        ("MINUSMEAN_DIVSTD", Normalization("BGR", MEAN, STD)),
        ("DIV255", Normalization("BGR", scale=255.0)),
        ("EQUAL", Normalization("BGR")),
        ("DIV1275_MINUSONE", Normalization("BGR", mean=(1.0, 1.0, 1.0), scale=127.5)),
    ],
)
def test_of_takes_mean_and_std_only_where_the_name_has_them(norma_type, expected):
    assert Normalization.of(norma_type, "BGR", MEAN, STD) == expected


def test_of_raises_when_mean_is_missing():
    with pytest.raises(ValueError, match="MINUSMEAN_DIVSTD needs mean and std"):
        Normalization.of("MINUSMEAN_DIVSTD", "RGB", None, STD)


@pytest.mark.parametrize("values", [{"std": (1.0, 0.0, 1.0)}, {"scale": 0.0}, {"scale": -1.0}])
def test_normalization_raises_when_it_would_divide_by_nothing(values):
    with pytest.raises(ValueError, match="above 0"):
        Normalization("RGB", **values)
