"""Published studies, measured."""
