"""Driving a job of any kind: chunks, progress, stop requests, checkpoints, and division over cores and processes."""
