"""`dataset.process_ops`: how calibration prepares an image, as a list of tagged operations."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from facedeploy.config.fields import BY_TYPE, Byte, Pixels, PositiveTriple, SizeWh, Triple
from facedeploy.core.normalization import USES_MEAN_AND_STD, NormaType
from facedeploy.core.shown import shown

LONGEST_LIST = 200  # Characters of the names of operations in a message.

MinusOne = Annotated[Literal[-1] | Pixels, Field(description="a size in px, or -1")]


@dataclass(frozen=True)
class DecodeImage:
    """File -> (h, w, 3) u8, RGB."""

    type: Literal["DecodeImage"]


@dataclass(frozen=True)
class CvtColor:
    """Either code swaps the first and the last channel, as OpenCV's codes do."""

    type: Literal["CvtColor"]
    code: Literal["COLOR_RGB2BGR", "COLOR_BGR2RGB"]


@dataclass(frozen=True)
class Resize:
    """To `size` (width, height) px, bilinear; with `adaptive_side` the aspect is kept.

    `long`: the largest image that fits in `size`; `short`: the smallest that covers it. A -1 stands for the other
    number, so `[640, -1]` with `long` makes the long side 640.
    """

    type: Literal["Resize"]
    size: Annotated[tuple[MinusOne, MinusOne], Field(description="[width, height] in px, one of them perhaps -1")]
    adaptive_side: Literal["long", "short"] | None = None

    def __post_init__(self) -> None:
        if self.size == (-1, -1) or (-1 in self.size and self.adaptive_side is None):
            raise ValueError(f"size: got {list(self.size)}; -1 needs one other size, and adaptive_side: long or short")

    @property
    def box_hw(self) -> tuple[int, int]:
        """`size` with -1 replaced, height first."""
        width, height = self.size
        return (height if height > 0 else width), (width if width > 0 else height)


@dataclass(frozen=True)
class Pad:
    """Center the image on a canvas: a square one of its long side (`pad_to_square`), or one of `size`."""

    type: Literal["Pad"]
    pad_to_square: bool = False
    size: SizeWh | None = None
    value: Byte = 0

    def __post_init__(self) -> None:
        if self.pad_to_square == (self.size is not None):
            raise ValueError("expected either pad_to_square: true or size: [width, height]")


@dataclass(frozen=True)
class CenterCrop:
    """Keep the middle `size` (width, height) px."""

    type: Literal["CenterCrop"]
    size: SizeWh


@dataclass(frozen=True)
class Normalize:
    """u8 -> float32. Without `norm_type`: divided by 255 if `div255`, then `(x - mean) / std` if these are given."""

    type: Literal["Normalize"]
    div255: bool | None = None
    norm_type: NormaType | Literal["None"] | None = None
    mean: Triple | None = None
    std: PositiveTriple | None = None

    def __post_init__(self) -> None:
        if (self.mean is None) != (self.std is None):
            raise ValueError("mean and std go together: got one of them")
        if self.norma_type in USES_MEAN_AND_STD and self.mean is None:
            raise ValueError(f"norm_type {self.norma_type} needs mean and std")
        if self.div255 is not None and self.div255 != self.norma_type.startswith("DIV255"):
            raise ValueError(f"norm_type {self.norma_type} contradicts div255: {str(self.div255).lower()}")

    @property
    def norma_type(self) -> NormaType:
        """What the keys amount to, in the words of the vdsp JSON."""
        if self.norm_type is not None and self.norm_type != "None":
            return self.norm_type
        if self.mean is None:
            return "DIV255" if self.div255 else "EQUAL"
        return "DIV255_MINUSMEAN_DIVSTD" if self.div255 else "MINUSMEAN_DIVSTD"


@dataclass(frozen=True)
class ToTensor:
    """(h, w, 3) -> (3, h, w) float32."""

    type: Literal["ToTensor"]


ProcessOp = Annotated[DecodeImage | CvtColor | Resize | Pad | CenterCrop | Normalize | ToTensor, BY_TYPE]


def check_order(ops: Sequence[ProcessOp]) -> None:
    """Raise ValueError unless ops are DecodeImage, any on pixels, perhaps Normalize, ToTensor."""
    names = [op.type for op in ops]
    rest = names[1:-2] if names[-2:-1] == ["Normalize"] else names[1:-1]
    misplaced = {"DecodeImage", "Normalize", "ToTensor"}.intersection(rest)
    if names[:1] != ["DecodeImage"] or names[-1] != "ToTensor" or misplaced:
        got = shown(", ".join(names), LONGEST_LIST) if names else "an empty list"
        raise ValueError(
            f"process_ops: got {got}; expected DecodeImage first, then operations on "
            "pixels (CvtColor, Resize, Pad, CenterCrop), then at most one Normalize, ToTensor last"
        )


def canvas_hw(ops: Sequence[ProcessOp]) -> tuple[int, int] | None:
    """The (height, width) px that every image leaves the ops with; None where that depends on the image."""
    fixed: tuple[int, int] | None = None
    box: tuple[int, int] | None = None  # What the image fills along one side at least.
    for op in ops:
        match op:
            case Resize():
                fixed = None if op.adaptive_side else op.box_hw
                box = op.box_hw if op.adaptive_side == "long" else None
            case Pad(size=(width, height)) | CenterCrop(size=(width, height)):
                fixed = (height, width)
            case Pad() if fixed:
                fixed = (max(fixed), max(fixed))
            case Pad() if box and box[0] == box[1]:
                fixed = box
    return fixed
