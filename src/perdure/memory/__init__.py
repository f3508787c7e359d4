"""Memories of past examples: pure functions on NamedTuples of arrays."""
