"""Where examples come from, in the order they come."""
