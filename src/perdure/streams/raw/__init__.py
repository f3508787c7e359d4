"""Raw data files: where they are, archives, downloads."""
