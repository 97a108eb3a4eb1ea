"""Files that hold networks: our signed format and foreign checkpoints."""
