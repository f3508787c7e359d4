"""Continual-learning methods, one a file; `catalog` knows them by name."""
