"""Values that an application's code gives, which no command line has looked at."""

from numbers import Integral, Real
from typing import Any

from facedeploy.core.errors import ConfigError


def check_whole(name: str, value: Any, least: int = 1, unit: str = "") -> None:
    """Raise ConfigError unless `value` is a whole number (of a unit) from `least`; True and False are none."""
    if not isinstance(value, Integral) or isinstance(value, bool) or value < least:
        raise ConfigError(f"{name}: got {value!r}, expected a whole number{unit and f' of {unit}'} from {least}")


def check_share(name: str, value: Any) -> None:
    """Raise ConfigError unless `value` is a number from 0 to 1."""
    if not isinstance(value, Real) or isinstance(value, bool) or not 0 <= float(value) <= 1:
        raise ConfigError(f"{name}: got {value!r}, expected a number from 0 to 1")


def check_order(order: Any) -> None:
    """Raise ConfigError for what is no order of channels."""
    if order not in ("RGB", "BGR"):
        raise ConfigError(f"order: got {order!r}, expected RGB or BGR")
