"""Objects from a recipe."""
