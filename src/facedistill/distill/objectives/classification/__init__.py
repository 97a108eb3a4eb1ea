"""Objectives that compare class scores, and class centres."""
