"""The version, read by the packaging too. Imports nothing of ours."""

__version__ = "0.1.0"
