"""Objectives of landmark networks."""
