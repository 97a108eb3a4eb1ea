"""How many prompts a stage of a teacher takes, for recipes too, which load no torch."""

MOST_PROMPTS = 1024
"""Most prompts of a stage."""
