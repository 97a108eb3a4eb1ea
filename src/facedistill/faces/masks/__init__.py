"""Face masks drawn on aligned crops."""
