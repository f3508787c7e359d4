"""Conformance checks for learners, agents and representation methods, perdure's and your own.

Each returns a report, or raises `ConformanceError`, whose text tells in words what fails.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
