"""The JSON of the fused preprocessing operator: source pixels of any size -> the tensor of one canvas."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from facedeploy.config.fields import Byte, Index, Pixels, PositiveTriple, Triple
from facedeploy.config.parse import read_json
from facedeploy.config.validate import validate
from facedeploy.core.normalization import USES_MEAN_AND_STD, ColorOrder, NormaType

OpType = Literal[
    "FUSION_OP_RGB_LETTERBOX_CVTCOLOR_NORM_TENSOR",
    "FUSION_OP_RGB_LETTERBOX_CVTCOLOR_NORM_TENSOR_EXT",
    "FUSION_OP_RGB_RESIZE_CVTCOLOR_NORM_TENSOR",
    "FUSION_OP_RGB_RESIZE_CVTCOLOR_CROP_NORM_TENSOR",
]
ResizeType = Literal["BILINEAR_CV", "BILINEAR_PILLOW", "BILINEAR"]
ImageFormat = Literal["RGB_PLANAR", "BGR888"]
ColorCvtCode = Literal["NO_CHANGE", "BGR2RGB", "RGB2BGR"]
Fill = Annotated[tuple[Byte, Byte, Byte], Field(description="a list of 3 whole numbers from 0 to 255")]


@dataclass(frozen=True)
class Geometry:
    """Where the source lies on the canvas, px.

    It is resized to `resize_hw` (into it, centered and with its aspect, if `keep_aspect`). That area's top left corner
    is at `origin_xy` of the canvas, negative for a crop. With a `scale` the area's corner is the source's, which is
    resized to so many times its own size, and must fit into the area.
    """

    canvas_hw: tuple[int, int]
    resize_hw: tuple[int, int]
    keep_aspect: bool
    origin_xy: tuple[int, int] = (0, 0)
    scale: float | None = None


@dataclass(frozen=True)
class VdspParams:
    """The operator. The canvas is in `color_order`, and so are `fill` (0..255, around the source), `mean`, `std`."""

    op_type: OpType
    geometry: Geometry
    resize_type: ResizeType
    color_order: ColorOrder
    norma_type: NormaType
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None
    fill: tuple[int, int, int] = (0, 0, 0)

    @property
    def canvas_hw(self) -> tuple[int, int]:
        """Height and width of the tensor in px."""
        return self.geometry.canvas_hw


@dataclass(frozen=True, kw_only=True)
class _OpConfig(ABC):
    """The keys that every operator has, as the JSON names them. `Iimage...` are nominal: an image's own size counts."""

    IimageFormat: ImageFormat
    ColorCvtCode: ColorCvtCode
    NormaType: NormaType
    ResizeType: ResizeType
    Mean: Triple | None = None
    Std: PositiveTriple | None = None
    IimageWidth: int | None = None
    IimageHeight: int | None = None
    IimageWidthPitch: int | None = None
    IimageHeightPitch: int | None = None

    def __post_init__(self) -> None:
        if self.NormaType in USES_MEAN_AND_STD and (self.Mean is None or self.Std is None):
            raise ValueError(f"NormaType {self.NormaType} needs Mean and Std")

    @property
    def swaps(self) -> bool:
        """Whether the first and the last channel change places: either code means that, as OpenCV's do."""
        return self.ColorCvtCode != "NO_CHANGE"

    @abstractmethod
    def geometry(self) -> Geometry:
        """What the sizes amount to."""

    def fill(self) -> tuple[int, int, int]:
        """Around the source, before colors are converted."""
        return (0, 0, 0)


@dataclass(frozen=True, kw_only=True)
class _Letterbox(_OpConfig):
    OimageWidth: Pixels
    OimageHeight: Pixels

    def geometry(self) -> Geometry:
        canvas_hw = self.OimageHeight, self.OimageWidth
        return Geometry(canvas_hw, canvas_hw, keep_aspect=True)


@dataclass(frozen=True, kw_only=True)
class _LetterboxExt(_OpConfig):
    ResizeWidth: Pixels
    ResizeHeight: Pixels
    Padding: Fill
    PaddingLeft: Index
    PaddingTop: Index
    PaddingRight: Index
    PaddingBottom: Index

    def geometry(self) -> Geometry:
        height = self.PaddingTop + self.ResizeHeight + self.PaddingBottom
        width = self.PaddingLeft + self.ResizeWidth + self.PaddingRight
        origin_xy = self.PaddingLeft, self.PaddingTop
        return Geometry((height, width), (self.ResizeHeight, self.ResizeWidth), True, origin_xy)

    def fill(self) -> tuple[int, int, int]:
        return self.Padding


@dataclass(frozen=True, kw_only=True)
class _Resize(_OpConfig):
    """The output is the resized image: either size is enough, and both must agree."""

    OimageWidth: Pixels | None = None
    OimageHeight: Pixels | None = None
    ResizeWidth: Pixels | None = None
    ResizeHeight: Pixels | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self.geometry()

    def geometry(self) -> Geometry:
        sizes = (self.OimageHeight, self.OimageWidth), (self.ResizeHeight, self.ResizeWidth)
        match [hw for hw in sizes if hw != (None, None)]:
            case [(int(height), int(width)), *rest] if all(hw == (height, width) for hw in rest):
                return Geometry((height, width), (height, width), keep_aspect=False)
        raise ValueError("expected ResizeWidth and ResizeHeight, or OimageWidth and OimageHeight, or both and equal")


@dataclass(frozen=True, kw_only=True)
class _ResizeCrop(_OpConfig):
    OimageWidth: Pixels
    OimageHeight: Pixels
    ResizeWidth: Pixels
    ResizeHeight: Pixels
    CropX: Index
    CropY: Index

    def __post_init__(self) -> None:
        super().__post_init__()
        right, bottom = self.CropX + self.OimageWidth, self.CropY + self.OimageHeight
        if right > self.ResizeWidth or bottom > self.ResizeHeight:
            raise ValueError(
                f"the crop ends at x {right}, y {bottom}, outside of the resized image, which is {self.ResizeWidth} "
                f"wide and {self.ResizeHeight} high"
            )

    def geometry(self) -> Geometry:
        canvas_hw, resize_hw = (self.OimageHeight, self.OimageWidth), (self.ResizeHeight, self.ResizeWidth)
        return Geometry(canvas_hw, resize_hw, keep_aspect=False, origin_xy=(-self.CropX, -self.CropY))


OP_CONFIGS: dict[OpType, type[_OpConfig]] = {
    "FUSION_OP_RGB_LETTERBOX_CVTCOLOR_NORM_TENSOR": _Letterbox,
    "FUSION_OP_RGB_LETTERBOX_CVTCOLOR_NORM_TENSOR_EXT": _LetterboxExt,
    "FUSION_OP_RGB_RESIZE_CVTCOLOR_NORM_TENSOR": _Resize,
    "FUSION_OP_RGB_RESIZE_CVTCOLOR_CROP_NORM_TENSOR": _ResizeCrop,
}


@dataclass(frozen=True)
class _File:
    OpType: OpType
    OpConfig: dict[str, Any]


def load_vdsp_params(path: str | Path) -> VdspParams:
    """Read the JSON of the operator.

    Raises ConfigError: one sentence where the file cannot be read as JSON, otherwise a line for every key that is
    unknown for its OpType, missing, or has a value that cannot be used.
    """
    file = validate(_File, read_json(Path(path)), str(path))
    config = validate(OP_CONFIGS[file.OpType], file.OpConfig, f"{path}: OpConfig")
    first, middle, last = config.fill()
    return VdspParams(
        op_type=file.OpType,
        geometry=config.geometry(),
        resize_type=config.ResizeType,
        color_order="BGR" if (config.IimageFormat == "BGR888") != config.swaps else "RGB",
        norma_type=config.NormaType,
        mean=config.Mean,
        std=config.Std,
        fill=(last, middle, first) if config.swaps else (first, middle, last),
    )
