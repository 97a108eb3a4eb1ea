"""Pure functions on arrays: verification and statistics."""
