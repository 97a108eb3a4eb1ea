"""Where faces are stored: one format a file."""
