"""Files, folders, arrays and checkpoints on disk: whole or not at all."""
