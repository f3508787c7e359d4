"""The version, read by the build and by every run record."""

__version__ = "0.1.0"
