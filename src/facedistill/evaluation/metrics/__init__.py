"""Figures computed from scores and errors, as pure functions on arrays."""
