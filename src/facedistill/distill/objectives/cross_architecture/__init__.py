"""Transformer to CNN: unified receptive fields and prompts."""
