"""The version, in the one place that the packaging reads too. Imports nothing of ours."""

__version__ = "0.1.0"
