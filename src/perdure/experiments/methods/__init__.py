"""Methods compared on one benchmark."""
