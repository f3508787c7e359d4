"""What a run leaves on disk: one folder format for every kind of run."""
