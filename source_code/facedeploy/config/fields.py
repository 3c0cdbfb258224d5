"""Kinds of values that several sections share; the descriptions are what error messages say was expected."""

from typing import Annotated, Any

from pydantic import Field

BY_TYPE: Any = Field(discriminator="type")  # Of a union of sections: the key `type` tells which one it is.

# Paths and names: a control character is a slip, and no file system takes a NUL.
Text = Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f]+$", description="text, on one line")]
Count = Annotated[int, Field(ge=1, description="a whole number of 1 or more")]
Index = Annotated[int, Field(ge=0, le=32_767, description="a whole number from 0 to 32767")]
Seed = Annotated[int, Field(ge=0, le=2**63 - 1, description="a seed, a whole number of 0 or more")]
Byte = Annotated[int, Field(ge=0, le=255, description="a whole number from 0 to 255")]
Pixels = Annotated[int, Field(ge=1, le=32_767, description="a whole number from 1 to 32767")]
Fraction = Annotated[float, Field(ge=0, le=1, description="a number from 0 to 1")]
Points = Annotated[float, Field(ge=0, le=100, description="AP points, a number from 0 to 100")]
Positive = Annotated[float, Field(gt=0, description="a number above 0")]

Triple = Annotated[tuple[float, float, float], Field(description="a list of 3 numbers")]
PositiveTriple = Annotated[tuple[Positive, Positive, Positive], Field(description="a list of 3 numbers above 0")]
SizeWh = Annotated[tuple[Pixels, Pixels], Field(description="[width, height] in px")]
