"""What the server answers, one kind of request a file."""
