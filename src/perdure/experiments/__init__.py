"""Experiments of every kind; each folder knows `supervised` and none of the others."""
