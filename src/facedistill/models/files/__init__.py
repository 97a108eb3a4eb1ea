"""Files that hold networks: our signed format, and what opens any."""
