"""The reason to exist: one method per file, and the teacher bank."""
