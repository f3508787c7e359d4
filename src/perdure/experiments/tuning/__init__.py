"""Choosing hyper-parameters on validation streams."""
