"""A model on a server, taught and asked like one in this process."""
