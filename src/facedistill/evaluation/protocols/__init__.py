"""What is measured, by which rules: one protocol a file."""
