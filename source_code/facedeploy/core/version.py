"""The one place that knows this package's version; pyproject reads it from here."""

__version__ = "0.1.0"
