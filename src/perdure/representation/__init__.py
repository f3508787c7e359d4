"""Representations that are made for learning online: meta-training, its baselines, and tests of what they are worth."""
