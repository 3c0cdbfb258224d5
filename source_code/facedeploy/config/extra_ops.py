"""`graph.extra_ops`: what decodes the head of a model, a section for each kind of head."""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from facedeploy.config.describe import describe_value, tagged_members
from facedeploy.config.fields import BY_TYPE, Fraction, Index, Pixels, Positive
from facedeploy.core.anchor_spec import AnchorSpec
from facedeploy.core.nms_params import CANDIDATES, NmsParams
from facedeploy.core.prior_spec import PriorSpec
from facedeploy.core.receptive_field_spec import ReceptiveFieldSpec

Kept = Annotated[int, Field(ge=1, le=CANDIDATES, description=f"a whole number from 1 to {CANDIDATES}")]
SizesOrLists = Annotated[
    tuple[Pixels | tuple[Pixels, ...], ...],
    Field(description="a list of whole numbers above 0, or of such a list for each stride"),
]


@dataclass(frozen=True, kw_only=True)
class NmsKeys:
    """What every post-processing keeps by default.

    A face is kept if its score is above `confidence_threshold`, and no better one overlaps it by more than
    `nms_threshold`: an IoU, but in `rf_nms` the part of the face that the better one covers.
    """

    nms_threshold: Fraction
    confidence_threshold: Fraction
    max_detections: Kept = 750
    num_classes: Literal[1] = 1

    def nms_params(self) -> NmsParams:
        """What is kept unless the run says otherwise."""
        return NmsParams(self.confidence_threshold, self.nms_threshold, self.max_detections)


@dataclass(frozen=True, kw_only=True)
class PriorParams(NmsKeys):
    """Priors as RetinaFace, slim, RFB, DSFD and YuNet have them.

    `anchor` lists min sizes (px): two a stride, or a list for each stride. What else says where priors are is as in
    `core.prior_spec.PriorSpec`.
    """

    anchor: SizesOrLists
    strides: tuple[Pixels, ...] = (8, 16, 32)
    variances: Annotated[tuple[Positive, Positive], Field(description="a list of 2 numbers above 0")] = (0.1, 0.2)
    aspect_ratio: Positive = 1.0
    clip: bool = False
    offset: Fraction = 0.5

    def __post_init__(self) -> None:
        lists = [sizes for sizes in self.anchor if isinstance(sizes, tuple)]
        if not lists and (not self.strides or len(self.anchor) != 2 * len(self.strides)):
            raise ValueError(
                f"anchor: got {len(self.anchor)} sizes for {len(self.strides)} strides "
                f"{describe_value(list(self.strides))}, expected two a stride: {2 * len(self.strides)}"
            )
        if lists and (len(lists) != len(self.anchor) or len(lists) != len(self.strides) or not all(lists)):
            raise ValueError(
                f"anchor: got {describe_value(list(map(list, lists)))} for strides "
                f"{describe_value(list(self.strides))}, expected a list of sizes for each"
            )

    def spec(self) -> PriorSpec:
        """The priors, stride by stride."""
        lists = tuple(sizes for sizes in self.anchor if isinstance(sizes, tuple))
        flat = tuple(size for size in self.anchor if isinstance(size, int))
        pairs = tuple(zip(flat[::2], flat[1::2], strict=True))
        return PriorSpec(lists or pairs, self.strides, self.variances, self.aspect_ratio, self.clip, self.offset)


@dataclass(frozen=True, kw_only=True)
class AnchorParams(NmsKeys):
    """Anchors of InsightFace's RetinaFace, and of the nets made from it, as in `core.anchor_spec.AnchorSpec`."""

    strides: tuple[Pixels, ...]
    scales: tuple[tuple[Pixels, ...], ...]
    base_size: Pixels = 16

    def __post_init__(self) -> None:
        self.spec()

    def spec(self) -> AnchorSpec:
        """The anchors, stride by stride, in the order of the model's outputs."""
        return AnchorSpec(self.scales, self.strides, self.base_size)


@dataclass(frozen=True, kw_only=True)
class ReceptiveFieldParams(NmsKeys):
    """Receptive fields of LFFD's nets, as in `core.receptive_field_spec.ReceptiveFieldSpec`."""

    receptive_fields: tuple[Pixels, ...]
    strides: tuple[Pixels, ...]
    starts: tuple[Index, ...]
    skip_scales: tuple[Index, ...] = ()

    def __post_init__(self) -> None:
        self.spec()

    def spec(self) -> ReceptiveFieldSpec:
        """The receptive fields, in the order of the model's outputs."""
        return ReceptiveFieldSpec(self.receptive_fields, self.strides, self.starts, self.skip_scales)


@dataclass(frozen=True)
class RetinafaceNms:
    """Decodes priors."""

    type: Literal["retinaface_nms"]
    params: PriorParams


@dataclass(frozen=True)
class RpnNms:
    """Decodes anchors."""

    type: Literal["rpn_nms"]
    params: AnchorParams


@dataclass(frozen=True)
class RfNms:
    """Decodes receptive fields."""

    type: Literal["rf_nms"]
    params: ReceptiveFieldParams


ExtraOps = Annotated[RetinafaceNms | RpnNms | RfNms, BY_TYPE]
EXTRA_OPS = tuple(tagged_members(ExtraOps))  # The kinds, by `type`.
