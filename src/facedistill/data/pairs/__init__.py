"""Pairs of images for verification, and groups of identities."""
