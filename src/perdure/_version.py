"""The version, read by the build and by every run record."""

__version__ = "0.2.0"
