"""Learners on benchmarks."""
