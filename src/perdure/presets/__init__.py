"""Published hyper-parameters and figures, and our own, each with its source."""
