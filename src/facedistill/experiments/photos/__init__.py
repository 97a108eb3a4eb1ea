"""Photographs into aligned faces: which faces are taken, and what is written down of each."""
