"""Records turned into tables and figures."""
