"""A data set seen in another way."""
