"""Agents at play."""
