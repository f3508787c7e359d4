"""What owns time, disk and devices: runs, checkpoints, records and the published configurations."""
