"""Training and evaluating representations."""
