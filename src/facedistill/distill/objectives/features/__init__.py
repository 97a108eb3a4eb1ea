"""Objectives that compare feature maps."""
