"""What a model's first layer wants to see of the u8 pixels of a canvas."""

from dataclasses import dataclass
from typing import Literal

ColorOrder = Literal["RGB", "BGR"]

NormaType = Literal["DIV255_MINUSMEAN_DIVSTD", "DIV255", "MINUSMEAN_DIVSTD", "EQUAL", "DIV1275_MINUSONE"]

Triple = tuple[float, float, float]

USES_MEAN_AND_STD: frozenset[NormaType] = frozenset({"DIV255_MINUSMEAN_DIVSTD", "MINUSMEAN_DIVSTD"})


@dataclass(frozen=True)
class Normalization:
    """`tensor = (pixel / scale - mean) / std`, a float32 step at a time, for each channel of a u8 canvas.

    The channels are in `color_order`, and so are `mean` and `std`. A step that changes nothing (scale 1, mean 0, std 1)
    may be left out: the result is the same to the bit.
    """

    color_order: ColorOrder
    mean: Triple = (0.0, 0.0, 0.0)
    std: Triple = (1.0, 1.0, 1.0)
    scale: float = 1.0

    def __post_init__(self) -> None:
        if self.scale <= 0 or min(self.std) <= 0:
            raise ValueError(f"scale and std must be above 0: got scale {self.scale:g}, std {list(self.std)}")

    def __str__(self) -> str:
        mean, std = (f"[{', '.join(f'{value:g}' for value in triple)}]" for triple in (self.mean, self.std))
        return f"{self.color_order} (pixel / {self.scale:g} - {mean}) / {std}"

    @classmethod
    def of(
        cls, norma_type: NormaType, color_order: ColorOrder, mean: Triple | None = None, std: Triple | None = None
    ) -> "Normalization":
        """The five kinds that the reference system names; `mean` and `std` count only where the name has them."""
        scale = 255.0 if norma_type.startswith("DIV255") else 1.0
        if norma_type in USES_MEAN_AND_STD:
            if mean is None or std is None:
                raise ValueError(f"{norma_type} needs mean and std")
            return cls(color_order, mean, std, scale)
        if norma_type == "DIV1275_MINUSONE":
            return cls(color_order, mean=(1.0, 1.0, 1.0), scale=127.5)
        return cls(color_order, scale=scale)
