"""What a run is judged by: the transfer metrics of an accuracy matrix, and gradient alignment."""
