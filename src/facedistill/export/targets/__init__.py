"""One target a file."""
