"""Objectives that compare relations between embeddings."""
