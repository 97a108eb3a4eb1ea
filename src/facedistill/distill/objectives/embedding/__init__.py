"""Objectives that compare embeddings one by one."""
