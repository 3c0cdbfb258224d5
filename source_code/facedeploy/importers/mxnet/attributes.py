"""The attributes of a node, which are all text in a symbol file: typed, and none of them overlooked."""

import math
import re
from collections.abc import Mapping, Sequence
from typing import NoReturn, TypeVar

from facedeploy.core.errors import CheckpointError
from facedeploy.core.float32 import EXPECTED, is_float32
from facedeploy.core.shown import shown

T = TypeVar("T")

# Of any node: `__...__`, and how old versions wrote these, on their own or after the name of an argument.
PRIVATE = ("lr_mult", "wd_mult", "ctx_group", "force_mirroring", "mirror_stage")
# Which kernel MXNet takes, not what it computes.
TUNING = ("workspace", "cudnn_tune", "cudnn_off")

FLAGS = {"True": True, "true": True, "1": True, "False": False, "false": False, "0": False}
WHOLE = re.compile(r"[+-]?\d{1,10}L?")
TUPLE = re.compile(r"[(\[](.*)[)\]]")
LARGEST = 2**31 - 1


class Attributes:
    """The attributes of the node that `place` says; each is taken once, and `finish` refuses what nobody took."""

    def __init__(self, values: Mapping[str, str], place: str) -> None:
        self._left = {key: value for key, value in values.items() if not _is_private(key)}
        self._place = place

    def whole(self, key: str, default: int | None = None) -> int:
        """A whole number. Without a default the attribute has to be there."""
        text = self._take(key)
        if text is None:
            return self._given(key, default)
        return self._whole(key, text, "a whole number")

    def optional_whole(self, key: str) -> int | None:
        """A whole number, or None."""
        text = self._take(key)
        return None if text in (None, "None") else self._whole(key, str(text), "a whole number or None")

    def number(self, key: str, default: float | None = None) -> float:
        """A number that is finite as a float32."""
        text = self._take(key)
        if text is None:
            return self._given(key, default)
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if not is_float32(number):
            self._refuse(key, text, EXPECTED)
        return number

    def flag(self, key: str, default: bool) -> bool:
        """True or False; None means the default."""
        text = self._take(key)
        if text is None or text == "None":
            return default
        if text not in FLAGS:
            self._refuse(key, text, "True or False")
        return FLAGS[text]

    def choice(self, key: str, known: Sequence[str], default: str | None = None) -> str:
        """One of the `known` words."""
        text = self._take(key)
        text = self._given(key, default) if text is None else text
        if text not in known:
            self._refuse(key, text, " or ".join(known))
        return text

    def wholes(self, key: str, default: tuple[int, ...] | None = None) -> tuple[int, ...]:
        """Whole numbers such as `(3, 3)`; an empty tuple means the default, where there is one."""
        text = self._take(key)
        if text is None:
            return self._given(key, default)
        inner = TUPLE.fullmatch(text.strip())
        if not inner:
            self._refuse(key, text, "whole numbers such as (3, 3)")
        parts = [part.strip() for part in inner[1].removesuffix(",").split(",")] if inner[1].strip() else []
        numbers = tuple(self._whole(key, part, "whole numbers such as (3, 3)", text) for part in parts)
        return default if not numbers and default is not None else numbers

    def pair(self, key: str, default: tuple[int, int] | None = None, smallest: int = 1) -> tuple[int, int]:
        """Two whole numbers, of height and width, none below `smallest`."""
        numbers = self.wholes(key, default)
        if len(numbers) != 2 or min(numbers) < smallest:
            self._refuse(key, str(numbers), f"two whole numbers (height, width) of {smallest} or more")
        return numbers[0], numbers[1]

    def only(self, key: str, *known: str) -> None:
        """An attribute of which only these values, the first being the default, are covered."""
        text = self._take(key)
        if text is not None and text not in known:
            self._refuse(key, text, " or ".join(known))

    def finish(self, *ignored: str) -> None:
        """Refuse what is left, but for `ignored`, which changes nothing of what a trained net computes."""
        for key in self._left.keys() - {*ignored, *TUNING}:
            raise CheckpointError(f"{self._place}: the attribute {shown(key)} is not known here")

    def _take(self, key: str) -> str | None:
        return self._left.pop(key, None)

    def _given(self, key: str, default: T | None) -> T:
        if default is None:
            raise CheckpointError(f"{self._place}: the attribute {key} is missing")
        return default

    def _whole(self, key: str, text: str, expected: str, whole_text: str = "") -> int:
        number = int(text.removesuffix("L")) if WHOLE.fullmatch(text) else LARGEST + 1
        if abs(number) > LARGEST:
            self._refuse(key, whole_text or text, expected)
        return number

    def _refuse(self, key: str, text: str, expected: str) -> NoReturn:
        raise CheckpointError(f"{self._place}: {key}: got {shown(text)}, expected {expected}")


def _is_private(key: str) -> bool:
    return (
        (key.startswith("__") and key.endswith("__")) or key in PRIVATE or key.endswith(tuple(f"_{p}" for p in PRIVATE))
    )
