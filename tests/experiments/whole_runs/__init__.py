"""Whole runs, a kind in each module: what engine, objectives and teachers do together."""
