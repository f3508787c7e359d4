"""The online model: estimators that learn row by row, and models in folders that lose no example."""
