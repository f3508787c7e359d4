"""The games, their pictures, and adaptors to other libraries' environments."""
