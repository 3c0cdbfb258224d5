"""The ONNX operator sets that can be exported."""

from facedeploy.core.errors import ConfigError

DEFAULT_OPSET = 17
OPSETS = range(11, 21)  # Resize to given sizes came with 11; the exporter ends at 20.


def check_opset(opset: int) -> None:
    """Raises ConfigError when `opset` cannot be exported."""
    if opset not in OPSETS:
        raise ConfigError(f"opset {opset}: expected {OPSETS.start}..{OPSETS.stop - 1}")
