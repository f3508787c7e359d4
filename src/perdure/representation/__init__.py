"""Representations that are made for learning online: meta-training, its baselines, and tests of what they are worth."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
